"""Explanations of why an identity was refused, or would be."""
