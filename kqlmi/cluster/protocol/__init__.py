"""One request to Kusto and its answer: on its way, checked, and as tables."""
