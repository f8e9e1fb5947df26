"""Parametrisations, one file each; ``PARAMETRISATIONS`` has their names."""
