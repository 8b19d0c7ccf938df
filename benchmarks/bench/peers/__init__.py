"""One system a file; each runs in an environment of its own: ``python -m benchmarks.bench.peers.NAME``."""
