"""Metrics, the evaluation protocol, quality scores and their tables."""
