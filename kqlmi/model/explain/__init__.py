"""Why an identity was refused, or would be."""
