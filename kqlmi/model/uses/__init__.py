"""What texts use identities for."""
