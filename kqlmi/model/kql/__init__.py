"""The syntax of KQL: tokens, brackets, constants and quoting."""
