"""What a device does: learning mathematics, the wire format, and the ClientApp."""
