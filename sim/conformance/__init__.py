"""The contract of a learner as checks: for those of the registry (tests/conformance), and for your own."""
