# Load.
