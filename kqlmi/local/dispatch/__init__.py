"""How a command is declared, found by its text, and called."""
