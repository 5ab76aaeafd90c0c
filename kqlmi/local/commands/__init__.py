"""The management commands of the local cluster; importing this package registers them all."""

from kqlmi.local import flows
from kqlmi.local.commands import (
    callouts,
    databases,
    functions,
    ingestion,
    operations,
    plugins,
    policies,
    requests,
    roles,
    schema,
    scripts,
    show,
    tables,
    unsupported,
)
from kqlmi.local.dispatch import shapes
from kqlmi.local.dispatch.registry import Call, Command, match

__all__ = [
    "Call",
    "Command",
    "callouts",
    "databases",
    "flows",
    "functions",
    "ingestion",
    "match",
    "operations",
    "plugins",
    "policies",
    "requests",
    "roles",
    "schema",
    "scripts",
    "shapes",
    "show",
    "tables",
    "unsupported",
]
