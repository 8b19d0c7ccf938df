"""The coordinator's part of secure aggregation."""
