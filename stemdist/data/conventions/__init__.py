"""What people's files mean: units, times, layouts and attributes, before the canonical form."""
