"""Layers that several forecasters share."""
