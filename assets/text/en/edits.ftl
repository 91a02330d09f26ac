# Edits.
