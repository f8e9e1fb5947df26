"""Results of methods in one form, checked, and a page made of many."""
