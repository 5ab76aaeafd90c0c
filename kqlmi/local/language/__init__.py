"""KQL text: tokens, literals, and the syntax elements of commands."""
