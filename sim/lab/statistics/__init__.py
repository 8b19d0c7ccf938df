"""Statistics of a comparison: pure functions of arrays (docs/statistics.md says why these)."""
