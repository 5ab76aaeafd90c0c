"""The state of a cluster, and its persistence."""
