"""The policy, what it allows, and the commands that write it."""
