"""Making and applying plans over a session."""
