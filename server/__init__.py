"""What runs on the coordinator: configuration, the round loop, meta-test, checkpoints, the run folder."""

if __name__ == "server":
    raise ImportError("server is now metapulse.server", name="server")
