"""Background ingestion: queued files, and the events of data connections."""
