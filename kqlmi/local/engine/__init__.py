"""DuckDB under KQL: tables put into it, queries translated, results read."""
