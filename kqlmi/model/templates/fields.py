"""The parameters of templates, one row each."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, NamedTuple, Self

from kqlmi.errors import InputError
from kqlmi.model.entities import did_you_mean, is_guid
from kqlmi.model.kql import quoting
from kqlmi.model.kql.source_map import literal_value
from kqlmi.model.kql.tokenizer import Token, tokens
from kqlmi.model.statement import Statement
from kqlmi.model.uses.blobs import EVENT_FORMATS, FORMATS, WRITTEN_FORMATS
from kqlmi.redaction import is_secret

TYPES: Final = frozenset(
    {"bool", "boolean", "date", "datetime", "decimal", "double", "dynamic", "guid", "int", "long", "real", "string"}
    | {"time", "timespan", "uniqueid", "uuid"}
)
_SHORTEST: Final = 3  # name, colon and type
_URI: Final = re.compile(r"(?:https|abfss|adl)://(?P<rest>[^\s;#]+)")
_OTHER_SCHEME: Final = re.compile(r"(?!https:|abfss:)[a-z]{1,10}://")
_CREDENTIAL: Final = re.compile(r"(?:[?&]|%3F|%26)(?:sig|api-key|key|code|token)(?:=|%3D)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter of a flow: its option is ``name`` with hyphens, and its ``kind`` one of ``KINDS``.

    ``default`` is used, and shown, if the option is not passed; a field without a default is required unless it is
    ``optional``.
    """

    name: str
    kind: str
    help: str
    default: str = ""
    optional: bool = False

    @property
    def choices(self) -> tuple[str, ...]:
        """Return the accepted values, or an empty tuple if they are not listed."""
        return KINDS[self.kind].choices

    @property
    def option(self) -> str:
        """Return the option as it is typed, for example ``--client-id``."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def usage(self) -> str:
        """Return the option with a placeholder for its value, in brackets if it is not required."""
        shown = f"{self.option} {self.name.upper()}"
        return f"[{shown}]" if self.default or self.optional else shown

    def or_(self, default: str) -> Self:
        """Return the field with a default."""
        return replace(self, default=default)

    def maybe(self) -> Self:
        """Return the field as an optional one."""
        return replace(self, optional=True)

    def called(self, text: str) -> Self:
        """Return the field with another help text."""
        return replace(self, help=text)

    def checked(self, value: str) -> str:
        """Return a valid value, normalised.

        Raises:
            InputError: The value is not valid. The message does not repeat possible credentials.
        """
        if not value.strip():
            raise InputError(f"{self.option} is empty.", hint=f"Pass {self.help}.")
        return KINDS[self.kind].checked(self.option, value)

    def written(self, value: str) -> str:
        """Return a checked value as it is written in a command."""
        return KINDS[self.kind].written(value)


class Kind(NamedTuple):
    """A type of field: the check of an option's value, its form in a command, and the choices if they are listed."""

    checked: Callable[[str, str], str] = lambda _option, value: value
    written: Callable[[str], str] = str
    choices: tuple[str, ...] = ()


def columns(text: str) -> tuple[tuple[str, str], ...]:
    """Read a schema, ``x: int, ['y, too']: string``, as names and types.

    Raises:
        InputError: The schema is not valid.
    """
    read = tokens(text)
    ends = [*(place for place, token in enumerate(read) if token.text == ","), len(read)]
    starts = [0, *(place + 1 for place in ends)]
    found = tuple(_column(text, read[start:end]) for start, end in zip(starts, ends, strict=False))
    names = [name for name, _ in found]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise InputError(f"The schema contains the column {twice!r} twice.", hint="Remove or rename one of them.")
    return found


def _column(text: str, piece: Sequence[Token]) -> tuple[str, str]:
    if len(piece) < _SHORTEST or piece[-2].text != ":":
        raise InputError(f"{text!r} is not a schema.", hint="Use --schema \"x: int, ['y z']: string\".")
    name, kind = piece[:-2], piece[-1].text
    if kind not in TYPES:
        raise InputError(f"{kind!r} is not a column type.", hint=did_you_mean(kind, sorted(TYPES)))
    inner = name[1:-1] if (name[0].text, name[-1].text) == ("[", "]") else name
    is_literal = len(inner) == 1 and inner[0].kind == "literal"
    written = literal_value(inner[0].text) if is_literal else text[inner[0].start : inner[-1].end] if inner else ""
    if not written:
        raise InputError(f"A column of the schema {text!r} has no name.")
    return written, kind


def _query(option: str, value: str) -> str:
    if Statement(value).kind == "command":
        raise InputError(f"{option} takes a query, not a command.")
    return value.strip()


def _uri(option: str, value: str, *, query: bool = False) -> str:
    found = _URI.fullmatch(value.strip())
    host = found["rest"].partition("/")[0] if found and value.strip().startswith("https") else ""
    is_extended = "@" in host or (set(value) & set("?;#") and not query) or ";" in value
    if is_extended or _CREDENTIAL.search(value) or is_secret(value):
        raise InputError(
            f"{option} must not contain {'credentials' if query else 'a query string or credentials'}.",
            hint="Pass only the address; kqlmi adds the managed identity.",
        )
    if found is None or not value.strip().isprintable():
        # Only the scheme is quoted: the rest may be a secret.
        scheme = _OTHER_SCHEME.match(value.strip())
        raise InputError(
            f"{option} must be an https:// or abfss:// URL{f', not {scheme[0]}' if scheme else ''}.",
            hint="Use https://<account>.blob.core.windows.net/<container>/<path>.",
        )
    return value.strip()


def _value(option: str, value: str) -> str:
    if set(value) & set(";\"'={}") or not value.isprintable():
        # The value is not repeated: it may be a whole connection string, with a password.
        raise InputError(
            f"{option} contains a character that is not allowed in a connection string.",
            hint="Remove any ; \" ' = { or } from it.",
        )
    return value.strip()


def _schema(_option: str, value: str) -> str:
    columns(value)
    return value


def _written_schema(text: str) -> str:
    return f"({', '.join(f'{quoting.name(name)}: {kind}' for name, kind in columns(text))})" if text else ""


def _guid(option: str, value: str) -> str:
    if not is_guid(value.strip().lower()):
        raise InputError(f"{option} {value!r} is not a GUID.")
    return value.strip().lower()


def _one_of(known: tuple[str, ...], kind: str) -> Kind:
    def checked(option: str, value: str) -> str:
        if value.casefold() not in known:
            raise InputError(f"{option} {value!r} is not {kind}.", hint=did_you_mean(value, known))
        return value.casefold()

    return Kind(checked, choices=known)


def _like(pattern: str, hint: str) -> Kind:
    def checked(option: str, value: str) -> str:
        if not re.fullmatch(pattern, value.strip()):
            raise InputError(f"{option} has the wrong form.", hint=f"Write it as {hint}.")
        return value.strip()

    return Kind(checked)


KINDS: Final[Mapping[str, Kind]] = {
    "name": Kind(written=quoting.name),
    "text": Kind(written=quoting.literal),
    "query": Kind(_query),
    "uri": Kind(_uri),
    "model uri": Kind(partial(_uri, query=True)),
    "endpoint": _like(r"https?://[A-Za-z0-9.:\[\]-]+/?", "https://ingest-<cluster>.<region>.kusto.windows.net"),
    "schema": Kind(_schema, _written_schema),
    "format": _one_of(FORMATS, "a file format"),
    "written format": _one_of(WRITTEN_FORMATS, "an export format"),
    "event format": _one_of(EVENT_FORMATS, "an event format"),
    "interval": _like(r"[1-9]\d{0,5}[dhms]", "1h, 30m or 2d"),
    "days": _like(r"[1-9]\d{0,5}d", "1d or 36500d"),
    "value": Kind(_value),
    "resource": _like(
        r"(?i:/subscriptions/[^/\s]+/resourceGroups/[^/\s]+/providers/[^\s'\"`$\\]+)",
        "/subscriptions/…/resourceGroups/…/providers/…",
    ),
    "guid": Kind(_guid),
}

NAME: Final = Field("name", "name", "the name of the new object")
TABLE: Final = Field("table", "name", "the table")
EXTERNAL: Final = TABLE.called("the external table")
SOURCE: Final = Field("source", "name", "the source table")
URI: Final = Field("uri", "uri", "the URL of the container, folder or file, without credentials")
MODEL: Final = Field("uri", "model uri", "the URL of the deployed model, with its api-version")
QUERY: Final = Field("query", "query", "the query")
SCHEMA: Final = Field("schema", "schema", "the columns, such as x: int, y: string")
LINE: Final = SCHEMA.or_("line: string")
FORMAT: Final = Field("format", "format", "the format of the files", default="csv")
INTO: Final = (TABLE.called("the target table"), URI, FORMAT)
WRITTEN: Final = Field("format", "written format", "the format of the files", default="csv")
EVENTS: Final = Field("format", "event format", "the format of the events", default="json")
EVERY: Final = Field("every", "interval", "the time between runs", default="1h")
HOT: Final = Field("hot", "days", "the number of days of data to cache", default="1d")
SERVER: Final = Field("server", "value", "the SQL server, such as s.database.windows.net")
CATALOG: Final = Field("catalog", "value", "the database in SQL Server or Cosmos DB")
COLLECTION: Final = Field("collection", "value", "the collection of the Cosmos DB database")
ACCOUNT: Final = Field("uri", "uri", "the endpoint of the Cosmos DB account, such as https://a.documents.azure.com/")
SCRIPT: Final = Field("script", "text", "the script")
TEXT: Final = Field("text", "text", "the prompt to send to the model", default="hello")
HUB: Final = Field("hub", "resource", "the resource ID of the event hub")
STORAGE: Final = Field("storage", "resource", "the resource ID of the storage account")
COSMOS: Final = Field("account", "resource", "the resource ID of the Cosmos DB account")
GROUP: Final = Field("consumer_group", "text", "the consumer group of the hub", default="$Default")
RESOURCE: Final = Field("resource_id", "resource", "the resource ID of the cluster")
INGESTION: Final = Field("ingest_uri", "endpoint", "the ingestion endpoint of the cluster")
CLIENT: Final = Field("client_id", "guid", "the client ID of the identity", optional=True)
