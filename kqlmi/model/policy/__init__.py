"""The ManagedIdentity policy: its text, its effect, and the commands that read and write it."""
