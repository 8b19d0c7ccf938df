"""People who attack the federation they take part in."""
