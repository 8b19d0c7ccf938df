"""The page about a comparison, and its tables."""
