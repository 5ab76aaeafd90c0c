"""Opening a session: by an address, by a connection of the configuration file, or on a local cluster."""
