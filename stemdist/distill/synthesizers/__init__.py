"""Synthesizers, one file each, and what they share; ``SYNTHESIZERS`` has their names."""
