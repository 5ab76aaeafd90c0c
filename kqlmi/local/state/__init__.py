"""What a cluster holds, and how it is kept."""
