"""The audit: its rules, its findings, and the smallest policies that suffice."""
