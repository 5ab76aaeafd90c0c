"""The HTTP endpoints of the local cluster, on loopback only."""
