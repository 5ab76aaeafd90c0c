"""The protocol of a request to Kusto: transport, checks of the answer, and result tables."""
