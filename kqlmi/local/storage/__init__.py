"""Storage containers, which are opened in one place, and their files."""
