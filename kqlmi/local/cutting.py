"""Where a query reaches beyond the engine: external data and plugins, found by their tokens."""

from dataclasses import dataclass, replace

from kqlmi.local import partitions
from kqlmi.local.faults import bad_request, not_carried_out
from kqlmi.local.lexer import Kind, Token, tokens
from kqlmi.local.partitions import Partition
from kqlmi.local.reader import Mismatch, Reader
from kqlmi.local.tables import Column

READERS = frozenset({"externaldata", "external_table", "inline_external_table"})
_BEFORE_EVALUATE = frozenset({"|", "(", "{", ";", "="})


@dataclass(frozen=True)
class Site:
    """A part of a query that the engine cannot carry out, and all that its text says.

    ``prelude`` holds the statements before its own, whose names its arguments may use. ``database`` is the name in
    ``database('…').external_table(…)``. ``source`` is the query whose rows flow into a plugin, None where there is none.
    """

    kind: str
    start: int
    end: int
    prelude: str
    arguments: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    properties: dict[str, str] | None = None
    format: str = ""
    partitions: tuple[Partition, ...] = ()
    path_format: str = ""
    database: str = ""
    source: str | None = None

    @property
    def options(self) -> dict[str, str]:
        """The properties after ``with``, or none."""
        return self.properties or {}


def find(text: str, position: int, plugins: frozenset[str]) -> Site | None:
    """Give the first site at or after a position; ``plugins`` are those whose calls are sites."""
    found = list(tokens(text))
    for index, token in enumerate(found):
        if token.start < position or token.kind is not Kind.WORD:
            continue
        following = found[index + 1].text if index + 1 < len(found) else ""
        site = None
        try:
            if token.text in READERS and (
                following == "(" or (token.text == "inline_external_table" and following == "kind")
            ):
                site = _reader_site(text, found, index)
            elif token.text == "evaluate" and (index == 0 or found[index - 1].text in _BEFORE_EVALUATE):
                site = _plugin_site(text, found, index, plugins)
        except Mismatch as mismatch:
            raise mismatch.as_fault(text) from None
        if site and _is_in_braces(found, index):
            # Its arguments may be parameters, or names of the inside, which cannot be told here.
            raise bad_request(f"the local cluster takes no {site.kind} in a function that a query defines itself")
        if site:
            return site
    return None


def has_wildcard_union(text: str) -> bool:
    """Tell whether a query names tables by a wildcard."""
    depth: int | None = None
    for token in tokens(text):
        if token.kind is Kind.STRING:
            continue
        if token.text in {"union", "find", "search"}:
            depth = 0
        elif depth is not None:
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            if depth < 0 or (token.text in {"|", ";"} and depth == 0):
                depth = None
            elif token.text == "*" and depth == 0:
                return True
    return False


def _reader_site(text: str, found: list[Token], index: int) -> Site:
    token = found[index]
    reader = Reader(text, token.end)
    prelude = text[: _statement(found, index)]
    if token.text == "external_table":
        arguments = reader.expressions("(", ")")
        start, database = _qualifier(found, index)
        return Site(token.text, start, reader.position, prelude, arguments, database=database)
    columns = reader.schema() if reader.peek().text == "(" else ()
    if token.text == "externaldata":
        given = _with(reader)
        arguments = reader.expressions("[", "]")
        properties = given or _with(reader)
        return Site(token.text, token.start, reader.position, prelude, arguments, columns, properties)
    kind, by, path_format = storage_kind(reader, columns)
    arguments = reader.expressions("(", ")")
    properties = _with(reader)
    site = Site(token.text, token.start, reader.position, prelude, arguments, columns, properties, kind)
    return replace(site, partitions=by, path_format=path_format)


def storage_kind(reader: Reader, columns: tuple[Column, ...]) -> tuple[str, tuple[Partition, ...], str]:
    """Take ``kind = storage [partition by …] dataformat = csv`` and return the format, the partitions and their format."""
    reader.expect("kind")
    reader.expect("=")
    if reader.take("delta"):
        raise not_carried_out("inline external tables of the kind delta")
    if not any(reader.take(word) for word in ("storage", "blob", "adl")):
        raise reader.mismatch("'storage': the local cluster carries out no other kind of external table")
    by = partitions.take(reader, [column.name for column in columns])
    reader.expect("dataformat")
    reader.expect("=")
    token = reader.next()
    return (token.value if token.kind is Kind.STRING else token.text), *by


def _with(reader: Reader) -> dict[str, str] | None:
    return reader.properties() if reader.take("with") else None


def _plugin_site(text: str, found: list[Token], index: int, plugins: frozenset[str]) -> Site | None:
    reader = Reader(text, found[index].end)
    while reader.peek().text == "hint":  # hint.distribution = per_node
        for _ in range(5):
            reader.next()
    name = reader.next()
    if name.text not in plugins:
        return None
    arguments = reader.expressions("(", ")")
    if reader.take(":"):
        reader.schema()
    statement = _statement(found, index)
    start, source = found[index].start, None
    if index and found[index - 1].text == "|":
        start = _pipe_start(found, index, statement)
        source = text[start : found[index - 1].start]
    return Site(name.text, start, reader.position, text[:statement], arguments, source=source)


def _is_in_braces(found: list[Token], index: int) -> bool:
    opened = [token.text for token in found[:index] if token.kind is not Kind.STRING and token.text in {"{", "}"}]
    return opened.count("{") > opened.count("}")


def _statement(found: list[Token], index: int) -> int:
    """Give where the statement of a token starts."""
    depth = 0
    start = 0
    for token in found[:index]:
        if token.kind is not Kind.STRING:
            depth += (token.text in {"(", "[", "{"}) - (token.text in {")", "]", "}"})
            if token.text == ";" and depth == 0:
                start = token.end
    return start


def _pipe_start(found: list[Token], index: int, statement: int) -> int:
    """Give where the pipe that a token belongs to starts: after its bracket, or in its statement after ``let x =``."""
    opened: list[int] = []
    for token in found[:index]:
        if token.kind is not Kind.STRING and token.text in {"(", "[", "{"}:
            opened.append(token.end)
        elif token.kind is not Kind.STRING and token.text in {")", "]", "}"} and opened:
            opened.pop()
    if opened and opened[-1] > statement:
        return opened[-1]
    own = [token for token in found[:index] if token.start >= statement]
    if own and own[0].text == "let":
        return next((token.end for token in own if token.text == "="), statement)
    return statement


def _qualifier(found: list[Token], index: int) -> tuple[int, str]:
    """Give where ``database('…').`` before a token starts, and the name in it."""
    before = found[max(index - 5, 0) : index]
    if [token.text for token in before if token.kind is not Kind.STRING] == ["database", "(", ")", "."]:
        return before[0].start, before[2].value
    return found[index].start, ""
