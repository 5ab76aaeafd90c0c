"""The workflows that the local cluster carries out; importing this package registers them all."""

from kqlmi.local.flows import (
    continuous_exports,
    exports,
    external_data,
    external_tables,
    ingestion,
    python_plugin,
    query_acceleration,
    schema_inference,
    unsupported,
    update_policies,
)
from kqlmi.local.query.carriers import PLUGINS, READERS

__all__ = [
    "PLUGINS",
    "READERS",
    "continuous_exports",
    "exports",
    "external_data",
    "external_tables",
    "ingestion",
    "python_plugin",
    "query_acceleration",
    "schema_inference",
    "unsupported",
    "update_policies",
]
