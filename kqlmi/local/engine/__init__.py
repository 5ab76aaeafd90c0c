"""The engine for KQL, DuckDB: loading of tables, translation of queries and reading of results."""
