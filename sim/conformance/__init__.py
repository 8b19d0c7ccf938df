"""What every learner promises, as checks: for those of the registry (tests/conformance), and for one of your own."""
