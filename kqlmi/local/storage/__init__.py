"""Containers, opened by one door, and the files in them."""
