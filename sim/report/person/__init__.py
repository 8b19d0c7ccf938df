"""The page about a person's model."""
