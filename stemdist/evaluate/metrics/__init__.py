"""Errors of forecasts, what they are relative to, and baselines that need no training."""
