"""The definition of an external table in a command, for each documented kind."""

import re

from kqlmi.local.dispatch.registry import shape
from kqlmi.local.dispatch.shapes import listed
from kqlmi.local.language.reader import Reader
from kqlmi.local.query.external_calls import storage_kind
from kqlmi.local.state.entities import ExternalTable, Layout
from kqlmi.local.storage import transfer
from kqlmi.local.storage.formats import format_of
from kqlmi.local.values import connectionstrings
from kqlmi.local.values.connectionstrings import named_identities
from kqlmi.local.values.tables import Column

_OWN = ("folder", "docstring")
_UNSUPPORTED = frozenset({"sampleuris", "filespreview"})
_ONCE = frozenset({"dryrun", "validatenotempty"})
# Documented for tables that the local cluster does not read.
_ELSEWHERE = frozenset(
    {
        "autoupdateschema", "compressed", "compressiontype", "createifnotexists", "dryrun", "encoding", "fileextension",
        "firetriggers", "nameprefix", "primarykey", "sqldialect", "validatenotempty", *_OWN,
    }
)  # fmt: skip
_SECRET = re.compile(r"\b(password|pwd|accountkey|user id|uid)\s*=\s*[^;]*", re.IGNORECASE)


@shape("external")
def external_definition(reader: Reader, _verb: str) -> tuple[ExternalTable, frozenset[str]]:
    """Take ``(schema) kind = storage dataformat = … ('connection string', …) [with (…)]``, or the form of another kind.

    Return the table, and the properties that affect only this command.
    """
    columns = reader.schema() if reader.peek().text == "(" else ()
    ahead = Reader(reader.text, reader.position)
    if ahead.take("kind") and ahead.take("=") and ahead.peek().text in {"delta", "sql"}:
        reader.position = ahead.position
        return _elsewhere(reader, columns)
    kind, by, path_format = storage_kind(reader, columns)
    locations = tuple(map(connectionstrings.parse, listed(reader, reader.strings)))
    properties = reader.properties() if reader.take("with") else {}
    for name in sorted(_UNSUPPORTED & properties.keys()):
        transfer.require({name: properties[name]}, (), others=_UNSUPPORTED)
    laid = transfer.layout(format_of("", kind), properties, also=(*_OWN, *_ONCE, *_UNSUPPORTED))
    folder, docstring = _described(properties)
    table = ExternalTable("", columns, laid, locations, folder, docstring, partitions=by, path_format=path_format)
    return table, _once(properties)


def _elsewhere(reader: Reader, columns: tuple[Column, ...]) -> tuple[ExternalTable, frozenset[str]]:
    kind, target = reader.next().text, ""
    if reader.take("table"):
        reader.expect("=")
        target = reader.name()
    texts = listed(reader, reader.strings)
    properties = reader.properties() if reader.take("with") else {}
    transfer.require(properties, _ELSEWHERE)
    dialect = str(transfer.value(properties, "sqldialect", "")).lower()
    if kind == "delta":
        flow = "external_table.delta"
    elif dialect in {"mysql", "postgresql"}:
        flow = f"external_table.{dialect}"  # takes no managed identity
    else:
        is_cosmos = any("accountendpoint=" in text.lower() for text in texts)
        flow = "external_table.cosmosdb" if is_cosmos else "external_table.sql"
    table = ExternalTable(
        "",
        columns,
        Layout(""),
        tuple(map(connectionstrings.parse, texts)) if kind == "delta" else (),
        *_described(properties),
        kind=kind.capitalize(),
        flow=flow,
        connections=tuple(map(_without_secrets, texts)) if kind == "sql" else (),
        target=target,
    )
    return table, _once(properties)


def _described(properties: dict[str, str]) -> tuple[str, str]:
    folder, docstring = (str(transfer.value(properties, name, "")) for name in _OWN)
    return folder, docstring


def _once(properties: dict[str, str]) -> frozenset[str]:
    return frozenset(name for name in _ONCE if transfer.value(properties, name) is True)


def _without_secrets(text: str) -> str:
    """Return a SQL connection string with its secrets masked; one with a managed identity has none."""
    return text if named_identities(text) else _SECRET.sub(r"\1=****", text)
