"""The KQL engine, which runs on DuckDB: loading tables, translating queries and reading results."""
