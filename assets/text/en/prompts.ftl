# Prompts.
