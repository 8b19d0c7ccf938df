"""Learners, one paper per file; each a frozen dataclass of hyper-parameters with pure methods."""
