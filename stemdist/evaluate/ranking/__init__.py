"""Whether training on a small set orders configurations as training on the full data does."""
