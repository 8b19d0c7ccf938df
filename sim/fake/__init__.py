"""A synthetic person in every vendor's export format, for tests, demonstrations and tutorials."""
