"""The commands that show where identities are used: one row each, with the function that reads the response."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from kqlmi.cluster.discovery import uses
from kqlmi.cluster.discovery.uses import External, Place
from kqlmi.cluster.protocol.table import Table
from kqlmi.model import jsontext
from kqlmi.model.entities import Scope
from kqlmi.model.kql import quoting
from kqlmi.model.kql.source_map import Mapped, Text
from kqlmi.model.uses import needs
from kqlmi.model.uses.commandflows import external_table_uses
from kqlmi.model.uses.needs import NOW, Gap, Need, State
from kqlmi.model.uses.queryflows import Use

Found = Need | Gap
Reading = Callable[[Table, Place], Iterator[Found]]

_REQUESTS: Final = (
    " | where Text contains 'managed' or Text contains '***' or Text contains 'export'"
    " | summarize Times = count() by Text, Database, State"
)
_DAYS_30: Final = "the last 30 days; only the caller's own, unless the caller is an admin or monitor"
_GUID: Final = re.compile(
    r"identity\b.{0,80}?\b([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\b", re.IGNORECASE | re.DOTALL
)
_BRACKETED: Final = re.compile(r"\[([^\]]*)\]")
# The start of columns, properties or literals that are not names: these may contain secrets.
_BEFORE_VALUES: Final = re.compile(r"\(|(?<!\[)[\"'](?!\])|```|~~~")
_INVALID: Final = "BadRequest_InvalidManagedIdentity"


@dataclass(frozen=True, slots=True)
class SourceCommand:
    """A command that shows uses. ``read`` yields them from the response.

    ``command`` is sent with the database's name instead of ``{}``, once for each database unless ``everywhere``. A
    ``repeats`` row restates other rows, and adds only what they do not show.
    """

    name: str
    read: Reading
    command: str = ""
    window: str = NOW
    everywhere: bool = False
    repeats: bool = False

    def text(self, database: str) -> str:
        """Return the command to send."""
        return (self.command or self.name).replace("{}", quoting.name(database) if database else "")


def externals(answer: Table, place: Place) -> dict[str, External]:
    """Return the external tables in a response by name."""
    found = {}
    for row in answer.records("TableName", "TableType", "ConnectionStrings"):
        strings = uses.strings(row["ConnectionStrings"])
        named = uses.external_table(row["TableName"], str(row["TableType"] or ""), strings, place)
        parts = {part.strip().casefold() for string in strings for part in string.split(";")[1:]}
        identities = dict.fromkeys(need.identity for need in named)
        found[str(row["TableName"])] = External(tuple(identities), impersonates="impersonate" in parts)
    return found


def external_uses(answer: Table) -> dict[str, tuple[Use, ...]]:
    """Return the uses of the external tables in a response by name."""
    return {
        str(row["TableName"]): tuple(
            external_table_uses(
                str(row["TableType"] or "").casefold(),
                [Text((Mapped.whole(one),)) for one in uses.strings(row["ConnectionStrings"])],
            )
        )
        for row in answer.records("TableName", "TableType", "ConnectionStrings")
    }


def _external_tables(answer: Table, place: Place) -> Iterator[Found]:
    for row in answer.records("TableName", "TableType", "ConnectionStrings"):
        strings = uses.strings(row["ConnectionStrings"])
        yield from uses.external_table(str(row["TableName"]), str(row["TableType"] or ""), strings, place)


def _update_policies(answer: Table, place: Place) -> Iterator[Found]:
    for row in answer.records("EntityName", "Policy"):
        what = f"update policy of table {_entity(row['EntityName'])}"
        yield from uses.policy(str(row["Policy"] or ""), "update_policy", place, what)


def _acceleration(answer: Table, place: Place) -> Iterator[Found]:
    for row in answer.records("EntityName", "Policy"):
        yield from _accelerated(_entity(row["EntityName"]), row["Policy"], "", place)


def _details(answer: Table, place: Place) -> Iterator[Found]:
    for row in answer.records("TableName", "QueryAccelerationPolicy", "QueryAccelerationState"):
        reasons = [str(state.get("NotHealthyReason") or "") for state in uses.objects(row["QueryAccelerationState"])]
        yield from _accelerated(str(row["TableName"]), row["QueryAccelerationPolicy"], "".join(reasons), place)


def _accelerated(table: str, policy: Any, reason: str, place: Place) -> Iterator[Found]:
    what = f"query acceleration of external table {table}"
    text = policy if isinstance(policy, str) else jsontext.dump(policy)
    yield from uses.policy(text, "query_acceleration", place, what)
    for item in uses.objects(policy):
        lacks = not item.get("ManagedIdentity") and item.get("IsEnabled") is not False
        if lacks and place.external(table).impersonates:
            says = f"{what}, which impersonates{f': {reason}' if reason else ''}"
            yield Gap(Scope.database(place.database), what, (place.evidence(says),))


def _exports(answer: Table, place: Place) -> Iterator[Found]:
    names = ("Name", "ExternalTableName", "ExportProperties", "IsDisabled", *(["Query"] if answer.has("Query") else []))
    for row in answer.records(*names):
        what, table = f"continuous export {row['Name']}", str(row["ExternalTableName"])
        state: State = "idle" if row["IsDisabled"] in (True, 1, "true", "1") else "standing"
        identity = _identity(row["ExportProperties"])
        yield from uses.continuous_export(identity, str(row.get("Query") or ""), place, what, state)
        yield from uses.through_external_table(table, place, what, state)
        scope = Scope.database(place.database)
        if not identity and place.external(table).impersonates:
            yield Gap(scope, what, (place.evidence(f"{what} to external table {table}, which impersonates", state),))
        elif not identity and not place.has_script:
            says = f"{what}, whose identity only the database's script, which was not read, shows for certain"
            yield Need(None, "AutomatedFlows", scope, (place.evidence(says, state, inferred=True),))


def _identity(properties: Any) -> str:
    """Return the identity in ExportProperties. The spelling of its key is not documented."""
    for item in uses.objects(properties):
        for key, value in item.items():
            if key.casefold().replace("_", "") == "managedidentity" and value:
                return str(value)
    return ""


def _script(answer: Table, place: Place) -> Iterator[Found]:
    for text in map(str, answer.column("DatabaseSchemaScript")):
        head = " ".join(_BEFORE_VALUES.split(text, maxsplit=1)[0].split())[:80]
        yield from uses.uses(text, place, f"script {head}")


def _functions(answer: Table, place: Place) -> Iterator[Found]:
    for row in answer.records("Name", "Parameters", "Body"):
        text = f"{row['Parameters'] or ''} {row['Body'] or ''}"
        yield from uses.uses(text, place, f"function {row['Name']}", "idle")


def _entities(answer: Table, place: Place) -> Iterator[Found]:
    for row in answer.records("DatabaseName", "EntityType", "EntityName", "Content"):
        kind = str(row["EntityType"])
        state: State = "idle" if kind == "Function" else "standing"
        what = f"{kind.lower()} {row['EntityName']}"
        yield from uses.uses(str(row["Content"] or ""), place.at(str(row["DatabaseName"])), what, state)


def _requests(answer: Table, place: Place) -> Iterator[Found]:
    for row in answer.records("Text", "Database", "State"):
        if row["Database"]:
            state: State = "past" if row["State"] in ("Completed", "InProgress", "Running") else "refused"
            yield from uses.request(str(row["Text"]), place.at(str(row["Database"])), state)


def _failures(answer: Table, place: Place) -> Iterator[Found]:
    policies = answer.column("OriginatesFromUpdatePolicy") if answer.has("OriginatesFromUpdatePolicy") else []
    for at, row in enumerate(answer.records("Database", "Table", "Details")):
        usage = "AutomatedFlows" if policies and policies[at] in (True, 1) else "NativeIngestion"
        evidence = place.evidence(f"failed ingestion into table {row['Table']} ({_INVALID})", "refused", inferred=True)
        for identity in dict.fromkeys(_GUID.findall(str(row["Details"] or "").lower())):
            yield Need(identity, usage, Scope.database(str(row["Database"])), (evidence,))


SOURCES: Final[tuple[SourceCommand, ...]] = (
    SourceCommand(needs.EXTERNAL_TABLES, _external_tables),
    SourceCommand(needs.UPDATE_POLICIES, _update_policies),
    SourceCommand(needs.ACCELERATION, _acceleration),
    SourceCommand(".show external tables details", _details, repeats=True),
    SourceCommand(needs.EXPORTS, _exports),
    SourceCommand(".show functions", _functions),
    SourceCommand(
        ".show database schema as csl script", _script, ".show database {} schema as csl script", repeats=True
    ),
    SourceCommand(".show databases entities", _entities, everywhere=True, repeats=True),
    SourceCommand(".show queries", _requests, f".show queries{_REQUESTS}", _DAYS_30, everywhere=True),
    SourceCommand(
        ".show commands-and-queries", _requests, f".show commands-and-queries{_REQUESTS}", _DAYS_30, everywhere=True
    ),
    SourceCommand(
        ".show ingestion failures",
        _failures,
        f".show ingestion failures | where ErrorCode == '{_INVALID}'",
        "the last 14 days",
        everywhere=True,
    ),
)


def _entity(name: Any) -> str:
    """Return the last part of ``[database].[table]``."""
    parts = _BRACKETED.findall(str(name))
    return str(parts[-1]) if parts else str(name)
