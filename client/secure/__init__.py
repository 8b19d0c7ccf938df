"""A device's part of secure aggregation: whole numbers, masks, and four answers."""
