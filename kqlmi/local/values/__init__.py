"""The values that the rest of the local cluster works with: tables, identities, principals, errors and times."""
