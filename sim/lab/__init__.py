"""The comparison lab: methods by data sets by seeds, and what may be said about them."""
