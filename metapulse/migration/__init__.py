"""Maps from one device's readings to another's, each with its band and a card that says what it rests on."""
