"""What the server does with replies: validation, aggregation, outer updates, Flower strategies."""

if __name__ == "strategies":
    raise ImportError("strategies is now metapulse.strategies", name="strategies")
