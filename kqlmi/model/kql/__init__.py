"""KQL as text: tokens, brackets, constants and quoting."""
