"""Plans of a session, made and applied."""
