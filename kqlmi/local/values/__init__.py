"""What everything else in the local cluster is made of: tables, identities, principals, refusals, times."""
