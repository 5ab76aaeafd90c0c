"""The operators and plugins of a query that sign in elsewhere, and the connection strings that they are given."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from kqlmi.model.kql.brackets import Nest
from kqlmi.model.kql.constants import Names, Value, bind, parameters, value_of
from kqlmi.model.kql.source_map import UNKNOWN, Text
from kqlmi.model.uses.connections import Connection, either, sql, storage

Reading = Callable[[str], Connection]


@dataclass(frozen=True, slots=True)
class Use:
    """A string that may name an identity: the flow that takes it, and how the flow reads it.

    ``database`` is the one that the text names for the flow; empty for the one in context.
    """

    flow: str
    text: Text
    read: Reading
    database: str = ""


class _Plugin(NamedTuple):
    """Where a plugin is told its connection: an argument by place, or by name; of a bag, perhaps one property."""

    flow: str
    place: int
    read: Reading
    name: str = ""
    key: str = ""


_PLUGINS: Final[Mapping[str, _Plugin]] = {
    "infer_storage_schema": _Plugin("infer_storage_schema", 0, storage, key="StorageContainers"),
    "python": _Plugin("python.external_artifacts", 3, storage, name="external_artifacts"),
    "r": _Plugin("r.external_artifacts", 3, storage, name="external_artifacts"),
    "sql_request": _Plugin("sql_request", 0, sql),
    "cosmosdb_sql_request": _Plugin("cosmosdb_sql_request", 0, sql),
    "ai_embeddings": _Plugin("ai_embeddings", 1, storage),
    "ai_chat_completion": _Plugin("ai_chat_completion", 1, storage),
    "ai_chat_completion_prompt": _Plugin("ai_chat_completion_prompt", 1, storage),
    # These take no managed identity: their pages list no such way to sign in.
    "azure_digital_twins_query_request": _Plugin("azure_digital_twins_query_request", 0, either),
    "http_request": _Plugin("http_request", 0, either),
    "http_request_post": _Plugin("http_request_post", 0, either),
    "infer_storage_schema_with_suggestions": _Plugin(
        "infer_storage_schema_with_suggestions", 0, storage, key="StorageContainers"
    ),
    "mysql_request": _Plugin("mysql_request", 0, either),
    "postgresql_request": _Plugin("postgresql_request", 0, either),
}
_ENDS: Final = frozenset({"|", "<|", ";", ")", "]", "}", "inline_external_table"})
_WITH_FORMAT: Final = frozenset({"storage", "blob", "adl"})
# No head of an external table and no hints of evaluate are longer; a text must not cost more than its length.
_MAX_HEAD: Final = 100


def query_uses(nest: Nest) -> Iterator[Use]:
    """Yield each connection string of the operators and plugins of a query, or of the queries in a command."""
    names = Names()
    # What let has bound is read once for each flow, however often the text uses it.
    seen: set[tuple[str, Value]] = set()
    for place, token in enumerate(nest.tokens):
        match token.text:
            case "{":
                names.enter()
                for name in parameters(nest, place):
                    names.bind(name, None)
            case "}":
                names.leave()
            case "let" if nest.at(place - 1) in {"", ";", "{", "<|"}:
                bind(nest, names, place)
            case "externaldata" | "external_data" | "inline_external_table" | "evaluate" as word:
                read = _plugins if word == "evaluate" else _tables
                for given in read(nest, place, names.bound):
                    if (given.flow, given.value) not in seen:
                        seen.add((given.flow, given.value))
                        yield from _uses(given)


def store(nest: Nest, start: int) -> tuple[str, int] | None:
    """Return the kind of an external table, and where the group of its connection strings opens."""
    kind = ""
    for place in islice(nest.direct(start), _MAX_HEAD):
        before = nest.at(place - 1).casefold()
        if nest.at(place) in _ENDS:
            return None
        if nest.at(place) == "=" and before == "kind":
            kind = nest.at(place + 1).casefold()
        # A function in an old-style partition opens a group too; the connection strings stand behind the format.
        ready = kind not in _WITH_FORMAT or nest.at(place - 3).casefold() == "dataformat"
        if nest.at(place) == "(" and kind and ready and before not in {"by", "=", "with"}:
            return kind, place
    return None


class _Given(NamedTuple):
    """What an operator or plugin is given: a string, or an array or bag of which one property counts, or all."""

    flow: str
    read: Reading
    value: Value
    key: str = ""


def _tables(nest: Nest, place: int, names: Mapping[str, Value | None]) -> Iterator[_Given]:
    flow = "externaldata"
    # The schema is a group; the connection strings of externaldata stand in brackets right behind it.
    urls = nest.partner.get(place + 1, len(nest.tokens)) + 1
    if nest.at(place) == "inline_external_table":
        flow, found = nest.at(place), store(nest, place + 1)
        urls = found[1] if found else len(nest.tokens)
    elif nest.at(place + 1) != "(" or nest.at(urls) != "[":
        return
    for start, end in nest.arguments(urls):
        yield _Given(flow, storage, value_of(nest, start, end, names))


def _plugins(nest: Nest, evaluate: int, names: Mapping[str, Value | None]) -> Iterator[_Given]:
    for place in islice(nest.direct(evaluate + 1), _MAX_HEAD):
        if nest.at(place) == "(":
            plugin = _PLUGINS.get(nest.at(place - 1))
            if plugin and (item := _argument(nest, place, plugin)):
                yield _Given(plugin.flow, plugin.read, value_of(nest, *item, names), plugin.key)
            return
        # Hints stand between the word and the plugin: hint.distribution = per_node.
        if nest.tokens[place].kind in {"mark", "unclosed"} and nest.at(place) not in {".", "="}:
            return


def _argument(nest: Nest, opener: int, plugin: _Plugin) -> tuple[int, int] | None:
    items = nest.arguments(opener)
    named = {nest.at(start): (start + 2, end) for start, end in items if nest.at(start + 1) == "="}
    if plugin.name in named:
        return named[plugin.name]
    item = next(islice(items, plugin.place, None), None)
    return item if item and nest.at(item[0] + 1) != "=" else None


def _uses(given: _Given) -> Iterator[Use]:
    """Yield the strings that count; one where a bag is wanted counts only if it is unknown."""
    if isinstance(given.value, Text):
        if not given.key or UNKNOWN in given.value.value:
            yield Use(given.flow, given.value, given.read)
        return
    for name, text in given.value.leaves:
        if not given.key or name.casefold() == given.key.casefold():
            yield Use(given.flow, text, given.read)
