"""Queries, and the parts of them that the engine cannot evaluate."""
