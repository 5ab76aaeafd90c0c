"""KQL as text: tokens, literals, and the shapes that commands are made of."""
