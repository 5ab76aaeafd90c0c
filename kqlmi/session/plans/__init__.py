"""Making and applying plans in a session."""
