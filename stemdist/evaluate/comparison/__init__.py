"""One comparison: forecasters trained on a distilled set and on its references."""
