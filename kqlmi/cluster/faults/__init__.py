"""What an error proves, and what follows from it."""
