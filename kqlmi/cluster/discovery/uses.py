"""The needs in a cluster's definitions and policies, and in requests that ran."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from kqlmi.model import jsontext
from kqlmi.model.entities import Scope
from kqlmi.model.kql.source_map import Mapped, Text
from kqlmi.model.statement import Statement
from kqlmi.model.uses.commandflows import exported_to, external_table_uses, policy_uses
from kqlmi.model.uses.connections import plain
from kqlmi.model.uses.needs import Evidence, Need, State
from kqlmi.model.uses.queryflows import Use
from kqlmi.model.uses.references import Reference, named_by
from kqlmi.redaction import redacted

# The commands that use an identity themselves; the others only define what other sources show in its current state.
_USERS: Final = frozenset({"append", "export", "ingest", "list", "set"})
_MASK: Final = "***"


@dataclass(frozen=True, slots=True)
class External:
    """An external table: the identities that its connection strings name, and whether it uses ``;impersonate``."""

    identities: tuple[str | None, ...] = ()
    impersonates: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """The source of a response, with what was read before it.

    ``externals`` are the external tables of each database by name; ``has_script`` is whether the database's script was
    read as well.
    """

    source: str
    window: str
    database: str = ""
    externals: Mapping[Scope, Mapping[str, External]] = field(default_factory=dict)
    has_script: bool = True

    def evidence(self, says: str, state: State = "standing", *, inferred: bool = False) -> Evidence:
        """Return a statement as evidence from this source."""
        return Evidence(self.source, redacted(says), self.window, state, inferred)

    def at(self, database: str) -> "Place":
        """Return the same place in another database."""
        return replace(self, database=database)

    def external(self, table: str) -> External:
        """Return an external table, which is empty if it was not read."""
        return self.externals.get(Scope.database(self.database), {}).get(table, External())


def uses(text: str, place: Place, what: str, state: State = "standing") -> Iterator[Need]:
    """Yield the needs of a statement, which ``what`` describes, in the database of a place."""
    yield from _needs(Statement.parse(text).references, text, place, what, state)


def _needs(listed: Iterable[Reference], text: str, place: Place, what: str, state: State) -> Iterator[Need]:
    for found in listed:
        if found.workflow is None:
            continue
        says = f"{what} ({found.workflow.title})"
        if found.identity is None:
            masked = _MASK in text[found.start : found.end]
            says += ", with a masked identity" if masked else ", with an identity that is not shown"
        evidence = place.evidence(says, state, inferred=found.workflow.sure != "documented")
        yield Need(found.identity, found.workflow.usage, Scope.database(found.database or place.database), (evidence,))


def external_table(name: str, kind: str, strings: list[str], place: Place) -> Iterator[Need]:
    """Yield the needs of an external table.

    A connection string that is missing or has no authentication method proves nothing: it is not documented whether the
    suffix with the identity is kept.
    """
    for string in strings:
        found = named_by(external_table_uses(kind.casefold(), [Text((Mapped.whole(string),))]))
        yield from _needs(found, string, place, f"external table {name}", "standing")
    if not strings or any(";" not in string and "?" not in string for string in strings):
        says = f"external table {name}, whose connection string shows no authentication method"
        yield Need(None, "ExternalTable", Scope.database(place.database), (place.evidence(says),))


def through_external_table(table: str, place: Place, what: str, state: State = "standing") -> Iterator[Need]:
    """Yield the needs of a flow that writes to an external table, which uses the table's own identities."""
    for identity in place.external(table).identities:
        evidence = place.evidence(f"{what}, which writes to external table {table}", state)
        yield Need(identity, "ExternalTable", Scope.database(place.database), (evidence,))


def policy(text: str, flow: str, place: Place, what: str) -> Iterator[Need]:
    """Yield the needs of a flow's policy in JSON, one object at a time."""
    found = objects(text)
    if not found and "".join(text.split()) not in {"", "null", "[]"}:
        evidence = place.evidence(f"{what}, which is not readable JSON")
        yield Need(None, "AutomatedFlows", Scope.database(place.database), (evidence,))
    for item in found:
        state: State = "idle" if item.get("IsEnabled") is False else "standing"
        payload = jsontext.dump(item)
        yield from _needs(named_by(policy_uses(flow, Mapped.whole(payload))), payload, place, what, state)


def continuous_export(identity: str, query: str, place: Place, what: str, state: State) -> Iterator[Need]:
    """Yield the needs of a continuous export: of its identity, if it names one, and of its query."""
    named = [Use("continuous_export", Text((Mapped.whole(identity),)), plain)] if identity else []
    yield from _needs(named_by(named), identity, place, what, state)
    yield from uses(query, place, what, state)


def objects(value: Any) -> list[dict[str, Any]]:
    """Return the objects in JSON, which may be parsed already. Null and invalid JSON contain none."""
    found = jsontext.read(value)
    return [item for item in (found if isinstance(found, list) else [found]) if isinstance(item, dict)]


def strings(value: Any) -> list[str]:
    """Return the strings in a JSON array, which may be parsed already. Input that is not JSON is a single string."""
    found = jsontext.read(value, broken=value)
    return [item for item in (found if isinstance(found, list) else [found]) if isinstance(item, str)]


def request(text: str, place: Place, state: State) -> Iterator[Need]:
    """Yield the needs of a command or query that ran; a command that only defines something has none."""
    statement = Statement(text)
    words = [token.text.casefold() for token in statement.tokens[:2]]
    if statement.kind == "query":
        yield from uses(statement, place, "a query", state)
    elif words[1:] and words[1] in _USERS:
        yield from uses(statement, place, f"the command .{words[1]}", state)
        if table := exported_to(statement.commands[0]):
            yield from through_external_table(table, place, "the command .export to table", state)
