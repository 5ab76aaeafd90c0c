"""The initial content of a cluster: the sample world, or the databases and identities that the caller specifies."""

import uuid
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from kqlmi.local.language import literals
from kqlmi.local.state import policies
from kqlmi.local.state.state import Database, State, World, key
from kqlmi.local.values import identities as identities_module
from kqlmi.local.values import resources
from kqlmi.local.values.faults import KustoError
from kqlmi.local.values.identities import Identity
from kqlmi.local.values.tables import Table, columns
from kqlmi.model.usages import USAGES

_NAMESPACE = uuid.UUID("6b716c6d-6900-4000-8000-6c6f63616c00")

_DISPLAY_NAMES = ("mi-adx-ingest", "mi-adx-export", "mi-ml-artifacts")

_POLICIES = {
    "": """[
        {'ObjectId': 'system', 'AllowedUsages': 'ExternalTable, AutomatedFlows'},
        {'ObjectId': 'mi-ml-artifacts', 'AllowedUsages': 'SandboxArtifacts'}]""",
    # The second entry repeats a grant of the cluster policy.
    "Samples": """[
        {'ObjectId': 'mi-adx-ingest', 'AllowedUsages': 'NativeIngestion, DataConnection'},
        {'ObjectId': 'system', 'AllowedUsages': 'ExternalTable'}]""",
    "Telemetry": "[{'ObjectId': 'mi-adx-ingest', 'AllowedUsages': 'All'}]",
    "Sales": "[{'ObjectId': 'mi-adx-export', 'AllowedUsages': 'ExportRequest, ExternalTable'}]",
}

_TABLES = {
    "Samples": {
        "StormEvents": (
            "StartTime: datetime, State: string, EventType: string, DeathsDirect: int, DamageProperty: long",
            """2007-09-18T20:00:00Z|FLORIDA|Heavy Rain|0|0
            2007-09-20T21:57:00Z|FLORIDA|Tornado|0|6200000
            2007-12-20T07:50:00Z|MISSISSIPPI|Thunderstorm Wind|0|20000
            2007-12-30T16:00:00Z|GEORGIA|Thunderstorm Wind|0|2000
            2007-09-29T08:11:00Z|ATLANTIC SOUTH|Waterspout|0|0""",
        ),
        "PopulationData": (
            "State: string, Population: long",
            "FLORIDA|19893297\nMISSISSIPPI|2992333\nGEORGIA|10097343",
        ),
    },
    "Telemetry": {
        "DeviceReadings": (
            "Timestamp: datetime, DeviceId: guid, Temperature: real, Online: bool, Tags: dynamic",
            """2025-03-01T06:00:00Z|0f3b7a52-6f0e-4a0c-9d56-3d0f1c1c7a01|21.5|true|{"site":"Bergen","floor":2}
            2025-03-01T06:05:00Z|0f3b7a52-6f0e-4a0c-9d56-3d0f1c1c7a01|21.75|true|{"site":"Bergen","floor":2}
            2025-03-01T06:05:00Z|1c9d44e0-2a77-4a44-8f0d-5f4a0cde7b02||false|{"site":"Turku","floor":1}""",
        ),
    },
    "Sales": {
        "Orders": (
            "OrderId: long, OrderedOn: datetime, Customer: string, Amount: real, TimeToShip: timespan",
            """100231|2025-02-11T09:14:00Z|Contoso|1249.9|1.04:30:00
            100232|2025-02-11T10:02:00Z|Fabrikam|89.5|06:15:00
            100233|2025-02-12T15:47:00Z|Northwind Traders|412|2.00:00:00""",
        ),
    },
    "Field Reports": {
        "Visits": (
            "VisitedOn: datetime, Site: string, Inspector: string, Passed: bool",
            "2025-01-20|Bergen|A. Solberg|true\n2025-01-22|Turku|J. Virtanen|false",
        ),
    },
}


CONTAINER = "https://kqlmisamples.blob.core.windows.net/landing"
"""The container of the sample world."""

_BLOBS = {
    "storms/2007-10.csv": """2007-10-04T13:00:00Z,TEXAS,Hail,0,1500
2007-10-18T21:30:00Z,KENTUCKY,Tornado,0,2300000
2007-10-31T02:15:00Z,FLORIDA,"High Surf, Rip Current",1,0
""",
    "visits.csv": "2025-02-11,Bergen,A. Solberg,true\n2025-02-13,Oulu,J. Virtanen,true\n",
}
_MODULE = """def of(damage):
    return "major" if damage > 1_000_000 else "minor" if damage else "none"
"""
_HOLDERS = {
    "mi-adx-ingest": "Storage Blob Data Reader",
    "mi-adx-export": "Storage Blob Data Contributor",
    "mi-ml-artifacts": "Storage Blob Data Reader",
}


def furnish(state: State, folder: Path) -> None:
    """Write the sample files to a folder, and add it as a container that the system identity is not permitted to open."""
    for path, content in _BLOBS.items():
        target = folder / path
        target.parent.mkdir(exist_ok=True)
        target.write_text(content, encoding="utf-8", newline="")
    with zipfile.ZipFile(folder / "severity.zip", "w") as zipped:
        zipped.writestr("severity.py", _MODULE)
    roles = state.world.azure_roles
    for name, role in _HOLDERS.items():
        roles = roles.assigned(_stable(name), CONTAINER, role)
    state.change(lambda w: replace(w.with_container(CONTAINER, folder), azure_roles=roles))


def build(databases: Iterable[str] | None, identities: Iterable[str | Identity] | None, usages: Iterable[str]) -> State:
    """Return the initial state of a cluster."""
    assigned = _sample_identities() if identities is None else tuple(map(identities_module.as_identity, identities))
    known = (*(usage.name for usage in USAGES), *usages)
    _refuse_ambiguous(assigned, known)
    users = {resources.identity_id(one.display_name).lower(): one for one in assigned if not one.is_system}
    world = World(assigned, known, user_assigned=users)
    if databases is not None:
        return State(replace(world, databases={key(one.name): one for one in _empty(databases)}))
    samples = {
        key(name): Database(
            name,
            tables={table: _table(schema, rows) for table, (schema, rows) in tables.items()},
            policy=_policy(name, assigned, known),
            database_id=_stable(f"database {name}"),
        )
        for name, tables in _TABLES.items()
    }
    return State(replace(world, databases=samples, policy=_policy("", assigned, known)))


def _refuse_ambiguous(assigned: tuple[Identity, ...], known: tuple[str, ...]) -> None:
    object_ids = {one.object_id.lower() for one in assigned}
    if len(object_ids) < len(assigned) or sum(one.is_system for one in assigned) > 1:
        raise ValueError("identities must have distinct object IDs, and at most one may be the system identity")
    if not all(usage.strip() and "," not in usage for usage in known):
        raise ValueError("usages must not be empty or contain a comma")


def _empty(names: Iterable[str]) -> list[Database]:
    databases = [Database(name) for name in names]
    if not all(one.name for one in databases) or len({key(one.name) for one in databases}) < len(databases):
        raise ValueError("database names must not be empty, and must differ by more than case")
    return databases


def _stable(what: str) -> str:
    """Return a GUID that is the same at every start, so that notebook outputs do not change."""
    return str(uuid.uuid5(_NAMESPACE, what))


def _sample_identities() -> tuple[Identity, ...]:
    system = Identity("kqlmi-local", _stable("system"), _stable("system client"), is_system=True)
    return (system, *(Identity(name, _stable(name), _stable(f"{name} client")) for name in _DISPLAY_NAMES))


def _policy(name: str, assigned: tuple[Identity, ...], known: tuple[str, ...]) -> policies.Policy | None:
    text = _POLICIES.get(name)
    if text is None:
        return None
    for display_name in _DISPLAY_NAMES:
        text = text.replace(f"'ObjectId': '{display_name}'", f"'ObjectId': '{_stable(display_name)}'")
    try:
        return policies.parse(text, assigned, known)
    except KustoError:
        return None  # the caller chose other identities


def _table(schema: str, lines: str) -> Table:
    declared = columns(schema)
    rows = [
        tuple(
            text if column.type == "string" else literals.parse(column.type, text) if text else None
            for column, text in zip(declared, line.strip().split("|"), strict=True)
        )
        for line in lines.splitlines()
    ]
    return Table(declared, tuple(rows))
