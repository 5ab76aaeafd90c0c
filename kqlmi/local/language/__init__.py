"""The syntax of KQL: tokens, literals, and the elements of commands."""
