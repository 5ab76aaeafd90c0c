"""The discovery of where identities are actually used, from what a cluster shows."""
