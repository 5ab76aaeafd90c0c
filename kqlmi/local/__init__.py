"""A local cluster: it speaks the Kusto protocol on loopback and enforces the ManagedIdentity policy."""
