"""Opening a session: by address, by a connection in the configuration file, or on a local cluster."""
