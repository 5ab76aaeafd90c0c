"""The sandbox of the ``python`` plugin."""
