"""What arrives in the background: queued files, and the events of data connections."""
