"""`make bench`: the same work on this engine and on its peers, in one run."""
