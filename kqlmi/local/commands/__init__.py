"""The management commands of the local cluster; importing this package registers them all."""

from kqlmi.local.commands import callouts, databases, policies, requests, roles, show, tables
from kqlmi.local.commands.registry import Call, Command, match

__all__ = ["Call", "Command", "callouts", "databases", "match", "policies", "requests", "roles", "show", "tables"]
