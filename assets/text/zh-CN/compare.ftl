# Compare.
