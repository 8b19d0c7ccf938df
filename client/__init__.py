"""What runs on a device: the ClientApp, the executor, the wire format, state between rounds, local privacy."""

if __name__ == "client":
    raise ImportError("client is now metapulse.client", name="client")
