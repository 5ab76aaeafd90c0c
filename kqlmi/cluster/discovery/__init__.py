"""What a cluster shows of where identities are really used."""
