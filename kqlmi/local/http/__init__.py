"""The server, on loopback only."""
