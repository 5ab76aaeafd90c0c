"""KQL as text: tokens, brackets, constants, quoting."""
