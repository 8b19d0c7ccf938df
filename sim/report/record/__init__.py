"""The page about a person's record: what is in it, what can be trusted, what is missing."""
