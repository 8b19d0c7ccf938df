"""What the server does with replies: validation, aggregation, outer updates, Flower strategies."""
