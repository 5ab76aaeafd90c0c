"""The uses of identities in commands, queries, policies and connection strings."""
