"""What runs on the coordinator: configuration, the round loop, meta-test, checkpoints, the run folder."""
