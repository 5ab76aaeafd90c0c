"""The operators and plugins of a query that access external resources, and their connection strings."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Final, NamedTuple

from kqlmi.model.kql.brackets import Nest
from kqlmi.model.kql.constants import Names, Value, bind, parameters, value_of
from kqlmi.model.kql.source_map import UNKNOWN, Mapped, Text
from kqlmi.model.kql.tokenizer import tokens
from kqlmi.model.uses.connections import Connection, addressed, either, sql, storage

Reading = Callable[[str], Connection]
UNKNOWN_FLOW: Final = "unknown flow: "
"""The beginning of the name of a flow that the catalogue does not know."""


@dataclass(frozen=True, slots=True)
class Use:
    """A string that may name an identity, with the flow that uses it and how that flow reads it.

    ``database`` is the database that the statement names for the flow, or empty for the current one.
    """

    flow: str
    text: Text
    read: Reading
    database: str = ""


@dataclass(frozen=True)
class Stored:
    """The stored functions, as (parameters, body), and the uses of the external tables that a query may call.

    ``expanded`` are the calls that were expanded; a call is expanded once for the same arguments.
    """

    functions: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    externals: Mapping[str, tuple[Use, ...]] = field(default_factory=dict)
    expanded: set[tuple[str, ...]] = field(default_factory=set)

    @cached_property
    def callable(self) -> Collection[str]:
        """Return the names whose calls are expanded."""
        return {*self.functions, "external_table"}


class _Connector(NamedTuple):
    """The argument with the connection of an operator or plugin, by place or name; ``key`` selects a property of a bag."""

    flow: str
    place: int
    read: Reading
    name: str = ""
    key: str = ""


_Reading = Callable[[Nest, int, Mapping[str, Value | None]], Iterator[tuple[_Connector, Value]]]
_PLUGINS: Final[Mapping[str, _Connector]] = {
    "infer_storage_schema": _Connector("infer_storage_schema", 0, storage, key="StorageContainers"),
    "python": _Connector("python.external_artifacts", 3, storage, name="external_artifacts"),
    "r": _Connector("r.external_artifacts", 3, storage, name="external_artifacts"),
    "sql_request": _Connector("sql_request", 0, sql),
    "cosmosdb_sql_request": _Connector("cosmosdb_sql_request", 0, sql),
    "ai_embeddings": _Connector("ai_embeddings", 1, storage),
    "ai_chat_completion": _Connector("ai_chat_completion", 1, storage),
    "ai_chat_completion_prompt": _Connector("ai_chat_completion_prompt", 1, storage),
    # These do not support a managed identity: their pages list no such authentication method.
    "azure_digital_twins_query_request": _Connector("azure_digital_twins_query_request", 0, either),
    "http_request": _Connector("http_request", 0, either),
    "http_request_post": _Connector("http_request_post", 0, either),
    "infer_storage_schema_with_suggestions": _Connector(
        "infer_storage_schema_with_suggestions", 0, storage, key="StorageContainers"
    ),
    "mysql_request": _Connector("mysql_request", 0, either),
    "postgresql_request": _Connector("postgresql_request", 0, either),
}
# Where a call is a table: at the beginning of a query, or as an operand of one of these operators.
_BEFORE_TABLES: Final = frozenset({"", ";", "<|", "{", "invoke", "union", "toscalar", "materialize"})
_WITH_TABLES: Final = frozenset({"union", "join", "lookup"})
_ENDS: Final = frozenset({"|", "<|", ";", ")", "]", "}", "inline_external_table"})
_WITH_FORMAT: Final = frozenset({"storage", "blob", "adl"})
# The heads of external tables and the hints of evaluate are shorter; the limit keeps the cost proportional to the length.
_MAX_HEAD: Final = 100
_MAX_CALLS: Final = 200
# The words that begin a query and are no tables.
_OPERATORS: Final = frozenset(
    {"datatable", "declare", "evaluate", "externaldata", "inline_external_table", "let", "print", "range", "set", "union"}
)  # fmt: skip


def query_uses(
    nest: Nest, stored: Stored | None = None, bound: Mapping[str, Value | None] | None = None
) -> Iterator[Use]:
    """Yield each connection string of the operators and plugins of a query, or of the queries in a command.

    Calls of what is ``stored`` are expanded; ``bound`` are the values of the parameters.
    """
    names, stored = Names({**(bound or {})}), stored or Stored()
    # A value bound by let is read once for each flow, however often it is used.
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
            case word if word not in names.bound and nest.at(place - 1) != "." and word in stored.callable:
                yield from _expanded(nest, place, names.bound, stored)
            case _ if read := _reading(nest, place, names.bound):
                for connector, value in read(nest, place, names.bound):
                    if (connector.flow, value) not in seen:
                        seen.add((connector.flow, value))
                        yield from _uses(connector, value)


def _reading(nest: Nest, place: int, names: Mapping[str, Value | None]) -> _Reading | None:
    """Return the function that reads the operator, plugin or call at an index, or None if it names no connection."""
    word = nest.at(place)
    if word == "evaluate":
        return _plugins
    if word in {"externaldata", "external_data", "inline_external_table"}:
        return _tables
    return _calls if nest.at(place + 1) == "(" and word not in names and _is_table(nest, place) else None


def _expanded(nest: Nest, place: int, names: Mapping[str, Value | None], stored: Stored) -> Iterator[Use]:
    """Yield the uses of an external table, or of a stored function with the arguments of a call, at the place of the call."""
    span = nest.source.span(nest.tokens[place].start, nest.tokens[place].end)
    if nest.at(place) == "external_table":
        for use in stored.externals.get(nest.literals(place + 2).value, ()):
            yield replace(use, text=Text((Mapped.placed(use.text.value, *span),)))
        return
    declared, body = stored.functions[nest.at(place)]
    head = Nest.of(Mapped.placed(declared, *span), tokens(declared))
    given: dict[str, Value | None] = {}
    for start, end in head.arguments(0):
        given[head.at(start)] = value_of(head, start + 4, end, {}) if head.at(start + 3) == "=" else None
    # The first parameter of an invoked function is the table.
    order = list(given)[nest.at(place - 1) == "invoke" :]
    for at, (start, end) in enumerate(nest.arguments(place + 1) if nest.at(place + 1) == "(" else ()):
        is_named = nest.at(start + 1) == "="
        name = nest.at(start) if is_named else order[at] if at < len(order) else ""
        given[name] = value_of(nest, start + 2 * is_named, end, names)
    call = (nest.at(place), *(value.value if isinstance(value, Text) else "" for value in given.values()))
    if call not in stored.expanded and len(stored.expanded) < _MAX_CALLS:
        stored.expanded.add(call)
        yield from query_uses(Nest.of(Mapped.placed(body, *span), tokens(body)), stored, given)


def calls_stored(nest: Nest) -> bool:
    """Check whether a query or a policy may call a stored function or an external table."""
    words = (place for place, token in enumerate(nest.tokens) if token.kind == "word" and token.text not in _OPERATORS)
    is_policy = nest.at(0) == "." and "query" in nest.source.value.casefold()
    return is_policy or any(nest.at(place) == "external_table" or _is_table(nest, place) for place in words)


def store(nest: Nest, start: int) -> tuple[str, int] | None:
    """Return the kind of an external table, and the place where the parentheses of its connection strings open."""
    kind = ""
    for place in islice(nest.direct(start), _MAX_HEAD):
        before = nest.at(place - 1).casefold()
        if nest.at(place) in _ENDS:
            return None
        if nest.at(place) == "=" and before == "kind":
            kind = nest.at(place + 1).casefold()
        # A function in an old-style partition opens parentheses too; the connection strings follow the format.
        ready = kind not in _WITH_FORMAT or nest.at(place - 3).casefold() == "dataformat"
        if nest.at(place) == "(" and kind and ready and before not in {"by", "=", "with"}:
            return kind, place
    return None


def _tables(nest: Nest, place: int, names: Mapping[str, Value | None]) -> Iterator[tuple[_Connector, Value]]:
    flow = "externaldata"
    # The connection strings of externaldata are in brackets after the schema, with or without properties between them.
    urls = nest.partner.get(place + 1, len(nest.tokens)) + 1
    if nest.at(urls) == "with":
        urls = nest.partner.get(urls + 1, len(nest.tokens)) + 1
    if nest.at(place) == "inline_external_table":
        flow, found = nest.at(place), store(nest, place + 1)
        urls = found[1] if found else len(nest.tokens)
    elif nest.at(place + 1) != "(" or nest.at(urls) != "[":
        return
    for start, end in nest.arguments(urls):
        yield _Connector(flow, 0, storage), value_of(nest, start, end, names)


def _plugins(nest: Nest, evaluate: int, names: Mapping[str, Value | None]) -> Iterator[tuple[_Connector, Value]]:
    for place in islice(nest.direct(evaluate + 1), _MAX_HEAD):
        if nest.at(place) == "(":
            plugin = _PLUGINS.get(nest.at(place - 1))
            if plugin is None:
                yield from _calls(nest, place - 1, names)
            elif item := _argument(nest, place, plugin):
                yield plugin, value_of(nest, *item, names)
            return
        # Hints may precede the plugin: hint.distribution = per_node.
        if nest.tokens[place].kind in {"mark", "unclosed"} and nest.at(place) not in {".", "="}:
            return


def _calls(nest: Nest, place: int, names: Mapping[str, Value | None]) -> Iterator[tuple[_Connector, Value]]:
    """Yield the arguments of a plugin, function or operator that is not known to take an identity."""
    connector = _Connector(f"{UNKNOWN_FLOW}{nest.at(place)}", 0, addressed)
    after = nest.partner.get(place + 1, len(nest.tokens)) + 1
    for opener in (place + 1, after):
        if nest.at(opener) in {"(", "["} and not (opener == after and nest.at(place) == "datatable"):
            for start, end in nest.arguments(opener):
                yield connector, value_of(nest, start, end, names)


def _is_table(nest: Nest, place: int) -> bool:
    """Check whether a call at an index is a table rather than a scalar."""
    back = range(place - 1, max(place - _MAX_HEAD, -2), -1)
    before = next((each for each in back if nest.at(each) != "("), place)
    if nest.tokens[place].kind != "word" or nest.at(before) == "[":
        return False
    if nest.at(before) == "=":
        return nest.at(before - 2) == "let"
    # Some operators take several tables, or hints before a table: join kind=inner (f(…)).
    operator = next((each + 1 for each in back if nest.at(each) in {"|", ";", "<|", "{", "evaluate"}), 0)
    return nest.at(before) in _BEFORE_TABLES or nest.at(operator) in _WITH_TABLES


def _argument(nest: Nest, opener: int, plugin: _Connector) -> tuple[int, int] | None:
    items = nest.arguments(opener)
    named = {nest.at(start): (start + 2, end) for start, end in items if nest.at(start + 1) == "="}
    if plugin.name in named:
        return named[plugin.name]
    item = next(islice(items, plugin.place, None), None)
    return item if item and nest.at(item[0] + 1) != "=" else None


def _uses(connector: _Connector, value: Value) -> Iterator[Use]:
    """Yield the strings that may name an identity; if a bag is expected, a string counts only if its content is unknown."""
    if isinstance(value, Text):
        if not connector.key or UNKNOWN in value.value:
            yield Use(connector.flow, value, connector.read)
        return
    for name, text in value.leaves:
        if not connector.key or name.casefold() == connector.key.casefold():
            yield Use(connector.flow, text, connector.read)
