"""Stand-ins for the Azure services around Kusto."""
