"""Queries, and their reaches beyond the engine."""
