"""The benchmark: comparisons on a grid of data sets, methods, ratios and seeds."""
