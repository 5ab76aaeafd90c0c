"""The audit: its rules, its findings, and the smallest sufficient policies."""
