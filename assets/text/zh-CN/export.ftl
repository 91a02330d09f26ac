# Export.
