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


class _Taker(NamedTuple):
    """Where an operator or plugin takes its connection: an argument by place, or by name; of a bag, perhaps one property."""

    flow: str
    place: int
    read: Reading
    name: str = ""
    key: str = ""


_PLUGINS: Final[Mapping[str, _Taker]] = {
    "infer_storage_schema": _Taker("infer_storage_schema", 0, storage, key="StorageContainers"),
    "python": _Taker("python.external_artifacts", 3, storage, name="external_artifacts"),
    "r": _Taker("r.external_artifacts", 3, storage, name="external_artifacts"),
    "sql_request": _Taker("sql_request", 0, sql),
    "cosmosdb_sql_request": _Taker("cosmosdb_sql_request", 0, sql),
    "ai_embeddings": _Taker("ai_embeddings", 1, storage),
    "ai_chat_completion": _Taker("ai_chat_completion", 1, storage),
    "ai_chat_completion_prompt": _Taker("ai_chat_completion_prompt", 1, storage),
    # These take no managed identity: their pages list no such way to sign in.
    "azure_digital_twins_query_request": _Taker("azure_digital_twins_query_request", 0, either),
    "http_request": _Taker("http_request", 0, either),
    "http_request_post": _Taker("http_request_post", 0, either),
    "infer_storage_schema_with_suggestions": _Taker(
        "infer_storage_schema_with_suggestions", 0, storage, key="StorageContainers"
    ),
    "mysql_request": _Taker("mysql_request", 0, either),
    "postgresql_request": _Taker("postgresql_request", 0, either),
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
                for taker, value in read(nest, place, names.bound):
                    if (taker.flow, value) not in seen:
                        seen.add((taker.flow, value))
                        yield from _uses(taker, value)


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


def _tables(nest: Nest, place: int, names: Mapping[str, Value | None]) -> Iterator[tuple[_Taker, Value]]:
    flow = "externaldata"
    # The schema is a group; the connection strings of externaldata stand in brackets right behind it.
    urls = nest.partner.get(place + 1, len(nest.tokens)) + 1
    if nest.at(place) == "inline_external_table":
        flow, found = nest.at(place), store(nest, place + 1)
        urls = found[1] if found else len(nest.tokens)
    elif nest.at(place + 1) != "(" or nest.at(urls) != "[":
        return
    for start, end in nest.arguments(urls):
        yield _Taker(flow, 0, storage), value_of(nest, start, end, names)


def _plugins(nest: Nest, evaluate: int, names: Mapping[str, Value | None]) -> Iterator[tuple[_Taker, Value]]:
    for place in islice(nest.direct(evaluate + 1), _MAX_HEAD):
        if nest.at(place) == "(":
            plugin = _PLUGINS.get(nest.at(place - 1))
            if plugin and (item := _argument(nest, place, plugin)):
                yield plugin, value_of(nest, *item, names)
            return
        # Hints stand between the word and the plugin: hint.distribution = per_node.
        if nest.tokens[place].kind in {"mark", "unclosed"} and nest.at(place) not in {".", "="}:
            return


def _argument(nest: Nest, opener: int, plugin: _Taker) -> tuple[int, int] | None:
    items = nest.arguments(opener)
    named = {nest.at(start): (start + 2, end) for start, end in items if nest.at(start + 1) == "="}
    if plugin.name in named:
        return named[plugin.name]
    item = next(islice(items, plugin.place, None), None)
    return item if item and nest.at(item[0] + 1) != "=" else None


def _uses(taker: _Taker, value: Value) -> Iterator[Use]:
    """Yield the strings that count; one where a bag is wanted counts only if it is unknown."""
    if isinstance(value, Text):
        if not taker.key or UNKNOWN in value.value:
            yield Use(taker.flow, value, taker.read)
        return
    for name, text in value.leaves:
        if not taker.key or name.casefold() == taker.key.casefold():
            yield Use(taker.flow, text, taker.read)
