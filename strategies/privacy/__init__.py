"""User-level differential privacy: what is released, how it is noised, and what it costs."""
