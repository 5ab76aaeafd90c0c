"""Commands that show the cluster, its version, its databases and their tables."""

import os
import platform
from importlib import metadata

from kqlmi.local.dispatch.registry import Call, Endpoint, Rows, command
from kqlmi.local.state.state import key
from kqlmi.local.values.faults import KustoError
from kqlmi.local.values.principals import MONITOR, READ_SCHEMA

_SERVICES = {Endpoint.QUERY: "Engine", Endpoint.INGEST: "DataManagement"}
_DATABASES = (
    "DatabaseName: string, PersistentStorage: string, Version: string, IsCurrent: bool, DatabaseAccessMode: string, "
    "PrettyName: string, ReservedSlot1: bool, DatabaseId: guid, InTransitionTo: string, SuspensionState: string"
)


@command(".show databases", ".show cluster databases", schema=_DATABASES)
def databases_show(call: Call) -> Rows:
    """Yield the databases that the caller may see."""
    try:
        current = key(call.queries.context(call.caller, call.context_name))
    except KustoError:
        current = ""
    for one in call.state.visible(call.caller):
        version, is_current = f"v{one.version}.0", key(one.name) == current
        yield (one.name, "", version, is_current, "ReadWrite", one.pretty_name, None, one.database_id, "", "")


@command(
    ".show version",
    schema="BuildVersion: string, BuildTime: datetime, ServiceType: string, ProductVersion: string",
    endpoints=tuple(Endpoint),
)
def version_show(call: Call) -> Rows:
    """Yield the version of kqlmi, and that this is its local cluster."""
    version = metadata.version("kqlmi")
    yield (version, call.state.started, _SERVICES[call.endpoint], f"kqlmi local cluster {version}")


@command(
    ".show cluster",
    schema="NodeId: string, Address: string, Name: string, StartTime: datetime, IsAdmin: bool, MachineTotalMemory: long, "
    "MachineAvailableMemory: long, ProcessorCount: int, EnvironmentDescription: string",
    needs=MONITOR,
)
def cluster_show(call: Call) -> Rows:
    """Yield the only node of the cluster, whose memory is not measured."""
    state = call.state
    where = f"Python {platform.python_version()} on {platform.system()}"
    yield ("KEngine000000", state.url, state.name, state.started, True, None, None, os.cpu_count(), where)


@command(
    ".show tables [{names:tables}]",
    schema="TableName: string, DatabaseName: string, Folder: string, DocString: string",
)
def tables_show(call: Call) -> Rows:
    """Yield the tables of the current database."""
    database = call.allowed(READ_SCHEMA)
    for name in call.args.get("tables", database.tables):
        database.table(name)
        yield (name, database.name, "", "")
