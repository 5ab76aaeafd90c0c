"""The adapter to Kusto."""
