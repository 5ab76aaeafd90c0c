"""The sandbox of the plugin ``python``."""
