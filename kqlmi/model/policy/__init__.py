"""The ManagedIdentity policy: its JSON, its effect, and the commands that read and write it."""
