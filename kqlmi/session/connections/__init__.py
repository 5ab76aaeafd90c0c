"""How a session is opened: by an address, a file of connections, or a local cluster."""
