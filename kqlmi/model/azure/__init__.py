"""What Azure Resource Manager shows and changes: assignments, roles, data connections."""
