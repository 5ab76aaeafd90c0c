"""What stands in for Azure beside Kusto."""
