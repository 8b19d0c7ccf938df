"""One person's model: forecasts with intervals, adapted as readings come."""
