"""Azure Resource Manager's side of a cluster: assignments, roles and data connections."""
