"""The page about runs: one, or several compared."""
