"""The world and the experiments: populations, data sources, engines, reports, the command line."""

if __name__ == "sim":
    raise ImportError("sim is now metapulse.sim", name="sim")
