"""The declaration, matching and calling of management commands."""
