"""The management commands that access external resources, and their connection strings and identities."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from kqlmi.model.kql.brackets import Nest
from kqlmi.model.kql.constants import name_at
from kqlmi.model.kql.payloads import json_pieces, leaves
from kqlmi.model.kql.source_map import Mapped, Text
from kqlmi.model.kql.tokenizer import tokens
from kqlmi.model.uses.connections import addressed, either, is_cosmos, plain, sql, storage
from kqlmi.model.uses.queryflows import UNKNOWN_FLOW, Reading, Stored, Use, query_uses, store

_WRITES: Final = frozenset({"create", "alter", "create-or-alter"})
_POLICIES: Final = {"update": "update_policy", "query_acceleration": "query_acceleration"}
_IDENTITY_KEYS: Final = frozenset({"managedidentity", "managed_identity"})
# The values of these are descriptions.
_TEXTS: Final = frozenset({"docstring", "folder"})
_NO_IDENTITY: Final = frozenset({"mysql", "postgresql"})
# The head of a command has fewer words; the limit keeps the cost proportional to the length.
_MAX_WORDS: Final = 12


def command_uses(nest: Nest, stored: Stored | None = None) -> Iterator[Use]:
    """Yield the strings of a command or query that may name an identity, including those of queries inside it.

    Calls of what is ``stored`` are expanded.
    """
    words = _words(nest) if nest.at(0) == "." else []
    head = [word for word, _ in words]
    if head[:2] == ["ingest", "inline"]:
        return
    known = list(_known_uses(nest, head, words, stored))
    yield from known
    yield from query_uses(nest, stored)
    if head and "function" not in head and not _payload(nest):
        yield from _other_uses(nest, head, sorted(use.text.joined.starts[0] for use in known if use.text.value))


def _known_uses(nest: Nest, head: list[str], words: list[tuple[str, int]], stored: Stored | None) -> Iterator[Use]:
    """Yield the strings of the flows that the catalogue knows."""
    match head:
        case ["export", *_] if "to" in head[:-1]:
            to = head.index("to") + 1
            yield from _export(nest, *words[to])
        case ["ingest", *_] | ["ingest-from-storage-queued", *_] if "into" in head:
            yield from _ingestion(nest, head, words)
        case ["list", "blobs", *_]:
            yield from _each("list_blobs", storage, _locators(nest, words[1][1]))
        case ["alter" | "alter-merge", *_] if found := _payload(nest):
            yield from _policy(nest, *found, stored)
        case [verb, "external", "table", *_] if verb in _WRITES:
            yield from _external_table(nest)
        case [verb, "continuous-export", *_] if verb in _WRITES:
            for key, text in _properties(nest):
                if key == "managedidentity":
                    yield Use("continuous_export", text, plain)


def _other_uses(nest: Nest, head: list[str], known: Sequence[int]) -> Iterator[Use]:
    """Yield the other strings of a command that name an identity; ``known`` are the offsets of those in known flows."""
    policy = head.index("policy") if "policy" in head else len(head)
    flow = f"{UNKNOWN_FLOW}.{' '.join([*head[: min(2, policy)], *head[policy : policy + 2]])}"
    for key, text in _properties(nest):
        if key in _IDENTITY_KEYS and text.value and text.joined.starts[0] not in known:
            yield Use(flow, text, plain)
    # What follows is a query or data.
    end = next((place for place, token in enumerate(nest.tokens) if token.text in {"<|", "|", "{"}), len(nest.tokens))
    for place, token in enumerate(nest.tokens[:end]):
        at = bisect_left(known, nest.source.starts[token.start])
        is_known = at < len(known) and known[at] < nest.source.ends[token.end - 1]
        if is_known or not nest.is_literal(place) or nest.is_literal(place - 1):
            continue
        text = nest.literals(place)
        is_json = text.value.lstrip()[:1] in {"[", "{"}
        for key, one in leaves(json_pieces(text.joined)) if is_json else ((_key(nest, place), text),):
            if key not in _TEXTS:
                yield Use(flow, one, plain if key.casefold() in _IDENTITY_KEYS else addressed)


def _key(nest: Nest, place: int) -> str:
    """Return the property or word, in lower case, whose value is at an index."""
    if nest.at(place - 1) != "=":
        return nest.at(place - 1).casefold()
    return _bare(nest, nest.partner.get(place - 2, place - 2), place - 1).casefold()


def _words(nest: Nest) -> list[tuple[str, int]]:
    """Return the words after the dot, hyphenated ones as one, each with the place of the token after it."""
    found: list[tuple[str, int]] = []
    place = 1
    while len(found) < _MAX_WORDS and place < len(nest.tokens) and nest.tokens[place].kind == "word":
        word, place = nest.at(place), place + 1
        while nest.at(place) == "-" and len(found) < _MAX_WORDS:
            word, place = f"{word}-{nest.at(place + 1)}", place + 2
        found.append((word.casefold(), place))
    return found


def _each(flow: str, read: Reading, texts: Iterator[Text], database: str = "") -> Iterator[Use]:
    for text in texts:
        yield Use(flow, text, read, database)


def _locators(nest: Nest, place: int) -> Iterator[Text]:
    """Yield the connection strings at ``place``, with or without parentheses.

    Adjacent literals in parentheses form one string; without parentheses, each literal is a string.
    """
    if nest.at(place) != "(":
        while nest.is_literal(place):
            yield Text((nest.literal(place),))
            place += 1 + (nest.at(place + 1) == ",")
        return
    for start, end in nest.arguments(place):
        if all(nest.is_literal(each) for each in range(start, end)):
            yield Text(tuple(map(nest.literal, range(start, end))))
        else:
            yield nest.unknown(start, end)


def exported_to(nest: Nest) -> str:
    """Return the external table that ``.export … to table`` writes to, or an empty string for any other command."""
    words = _words(nest)
    head = [word for word, _ in words]
    place = next((words[at + 1][1] for at in range(1, len(words)) if head[at : at + 2] == ["to", "table"]), None)
    return _bare(nest, place, nest.partner.get(place, place) + 1) if place and head[0] == "export" else ""


def _export(nest: Nest, form: str, place: int) -> Iterator[Use]:
    """Yield the connection strings of an export to storage or SQL; an export to a table has none."""
    if form == "sql":
        found = next((place for place in islice(nest.direct(place), _MAX_WORDS) if nest.is_literal(place)), place)
        yield from _each("export.to_sql", either, _locators(nest, found))
    elif form != "table":
        yield from _each("export.to_storage", storage, _locators(nest, place))


def _ingestion(nest: Nest, head: list[str], words: list[tuple[str, int]]) -> Iterator[Use]:
    into = head.index("into")
    database, place = _name(nest, words[into + (head[into + 1 : into + 2] == ["table"])][1])
    if head[0] == "ingest":
        yield from _each("ingest.into", storage, _locators(nest, place), database)
        return
    place = next((each for each in nest.direct(place) if nest.at(each) == "<|"), len(nest.tokens)) + 1
    listed = [nest.at(each).casefold() for each in range(place, place + 3)] == [".", "list", "blobs"]
    texts = _locators(nest, place + 3 * listed)
    yield from _each("ingest.queued_cmd", storage, texts, database)


def _external_table(nest: Nest) -> Iterator[Use]:
    if found := store(nest, 1):
        kind, opener = found
        dialects = (text.value.casefold() for key, text in _properties(nest) if key == "sqldialect")
        yield from external_table_uses(kind, _locators(nest, opener), next(dialects, ""))


def external_table_uses(kind: str, texts: Iterable[Text], dialect: str = "") -> Iterator[Use]:
    """Yield the connection strings of an external table; ``kind`` and ``dialect`` are in lower case."""
    for text in texts:
        if kind != "sql":
            yield Use("external_table.delta" if kind == "delta" else "external_table.storage", text, storage)
        elif dialect in _NO_IDENTITY:
            yield Use(f"external_table.{dialect}", text, either)
        else:
            cosmos = dialect == "cosmosdbsql" or is_cosmos(text.value)
            yield Use("external_table.cosmosdb" if cosmos else "external_table.sql", text, sql)


def _properties(nest: Nest) -> Iterator[tuple[str, Text]]:
    """Yield the properties of ``with (…)``: the name in lower case, and the value of literals or the bare word."""
    for place in nest.direct(0):
        if nest.at(place) == "<|":
            return
        if nest.at(place) == "(" and nest.at(place - 1).casefold() == "with":
            for start, end in nest.items(place + 1, nest.partner.get(place, len(nest.tokens))):
                equals = next((each for each in range(start, end - 1) if nest.at(each) == "="), start)
                if equals > start and (name := _bare(nest, start, equals)):
                    first, last = nest.tokens[equals + 1], nest.tokens[end - 1]
                    bare = Text((nest.source.part(first.start, last.end),))
                    yield name.casefold(), nest.literals(equals + 1) if first.kind == "literal" else bare


def _payload(nest: Nest) -> tuple[str, int] | None:
    """Return the flow of a policy command and the place of its payload, or None if the policy names no identities."""
    for place in islice(nest.direct(1), 4 * _MAX_WORDS):
        flow = _POLICIES.get(nest.at(place + 1)) if nest.at(place) == "policy" else None
        payload = place + 2
        if nest.at(payload) == "with":
            payload = nest.partner.get(payload + 1, payload) + 1
        if flow and nest.is_literal(payload):
            return flow, payload
    return None


def _policy(nest: Nest, flow: str, place: int, stored: Stored | None) -> Iterator[Use]:
    table = next((each for each in range(1, place) if nest.at(each) == "table"), 0)
    database, _ = _name(nest, table + 1)
    yield from policy_uses(flow, nest.literals(place).joined, database, stored)


def policy_uses(flow: str, payload: Mapped, database: str = "", stored: Stored | None = None) -> Iterator[Use]:
    """Yield the uses in a policy's JSON: its identities, and the uses of the queries in it."""
    for key, text in leaves(json_pieces(payload)):
        if key.casefold() == "managedidentity":
            yield Use(flow, text, plain, database)
        elif key.casefold() == "query" and flow == "update_policy":
            query = text.pieces[0]
            for use in query_uses(Nest.of(query, tokens(query.value)), stored):
                yield replace(use, database=database)


def _name(nest: Nest, place: int) -> tuple[str, int]:
    """Return the database that qualifies a table's name (or an empty string), and the place after the name."""
    parts: list[str] = []
    while True:
        start = place
        if nest.at(place) == "database" and nest.at(place + 1) == "(":
            start, place = place + 2, nest.partner.get(place + 1, len(nest.tokens))
            parts.append(_bare(nest, start, place))
        else:
            place = max(place, nest.partner.get(place, place))
            parts.append(_bare(nest, start, place + 1))
        place += 1
        if nest.at(place) != ".":
            return (parts[0] if len(parts) > 1 else ""), place
        place += 1


def _bare(nest: Nest, start: int, end: int) -> str:
    if end == start + 1 and nest.is_literal(start):
        return nest.literal(start).value
    return name_at(nest, start, end) or ""
