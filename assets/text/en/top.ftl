# Top.
