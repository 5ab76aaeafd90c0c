"""Decide which managed identity may do what on an Azure Data Explorer cluster, from a notebook."""

__version__ = "0.1.0"
