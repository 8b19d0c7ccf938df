"""Configurations for tests of the command line: a run of milliseconds, and a suite of two."""

TINY = """
[run]
name = "tiny"
rounds = 3
[source]
name = "sine"
clients = 10
[transform]
name = "none"
[model]
name = "sine"
hidden = [4]
[learner]
name = "reptile"
[episodes]
split = "samples"
[strategy]
name = "fedreptile"
cohort = 3
[evaluation]
split = "samples"
steps = [0, 2]
"""
PAIR = TINY + "[methods.slow]\nlearner = { inner_lr = 0.001 }\n[methods.fast]\nlearner = { inner_lr = 0.1 }\n"
