# Configure.
