"""The world and the experiments: populations, data sources, engines, reports, the command line."""
