"""The parts of a query that the engine cannot evaluate: external data and plugins, found by their tokens."""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter, itemgetter

from kqlmi.local.language import lexer, partitions
from kqlmi.local.language.lexer import Kind, Token, next_token, tokens
from kqlmi.local.language.partitions import Partition
from kqlmi.local.language.reader import Mismatch, Reader
from kqlmi.local.values.faults import bad_request, unsupported
from kqlmi.local.values.tables import Column

READERS = frozenset({"externaldata", "external_table", "inline_external_table"})
_BEFORE_EVALUATE = frozenset({"|", "(", "{", ";", "="})


@dataclass(frozen=True)
class Site:
    """A parsed part of a query that the engine cannot evaluate.

    ``prelude`` returns the statements before the site's own, whose names its arguments may use. ``database`` is the name in
    ``database('…').external_table(…)``. ``source`` is the query whose rows are the input of a plugin, or None.
    """

    kind: str
    start: int
    end: int
    prelude: Callable[[], str]
    arguments: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    format: str = ""
    partitions: tuple[Partition, ...] = ()
    path_format: str = ""
    database: str = ""
    source: str | None = None


def replaced(text: str, plugins: frozenset[str], by: Callable[[Site], str]) -> str:
    """Return a query with each site replaced by a name, from left to right; calls of ``plugins`` are sites.

    The strings in a site contain the names of the sites before it. The query is read once, regardless of their number.
    """
    scan = _Scan(text)
    done = 0
    for index, token in enumerate(scan.found):
        if token.start >= done and token.kind is Kind.WORD:
            try:
                site = _site(scan, index, plugins)
            except Mismatch as mismatch:
                raise mismatch.as_fault(text) from None
            if site and scan.braces > 0:
                # Its arguments may refer to parameters or local names, whose values are not known here.
                raise bad_request(f"the local cluster does not support {site.kind} in a query-defined function")
            if site:
                # The engine reads a lone name in brackets as a scalar: x in ((externaldata …)).
                scan.put(site, by(site) + (" | where true" if scan.is_alone(site) else ""))
                done = site.end
        scan.note(token)
    return scan.written(0, len(text))


class _Scan:
    """The state of a scan: the start of the statement and of the open brackets, and the names that replace sites."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.found = list(tokens(text))
        self.statement = self.depth = self.braces = 0
        self._opened: list[int] = []
        self._is_let: bool | None = None
        self._equals: int | None = None
        self._put: list[tuple[int, int, str]] = []

    def note(self, token: Token) -> None:
        """Update the state after a token."""
        if self._is_let is None:
            self._is_let = token.text == "let"
        if token.text == "=" and self._equals is None:
            self._equals = token.end
        self.depth += token.nesting
        self.braces += (token.text == "{") - (token.text == "}")
        if token.nesting > 0:
            self._opened.append(token.end)
        elif token.nesting < 0:
            del self._opened[-1:]
        elif token.text == ";" and self.depth == 0:
            self.statement = token.end
            self._is_let = self._equals = None

    def pipe_start(self) -> int:
        """Return the start of the current pipe: after its opening bracket, after ``let x =``, or at its statement's start."""
        if self._opened and self._opened[-1] > self.statement:
            return self._opened[-1]
        return self._equals if self._is_let and self._equals is not None else self.statement

    def is_alone(self, site: Site) -> bool:
        """Check whether a site is the only content of its parentheses."""
        first = bisect_left(self.found, site.start, key=attrgetter("start"))
        return first > 0 and self.found[first - 1].text == "(" and next_token(self.text, site.end).text == ")"

    def put(self, site: Site, name: str) -> None:
        """Replace a site, and the sites in its source, by a name."""
        while self._put and self._put[-1][0] >= site.start:
            self._put.pop()
        self._put.append((site.start, site.end, name))

    def written(self, start: int, end: int) -> str:
        """Return a part of the query with names instead of sites."""
        first, last = (bisect_left(self._put, place, key=itemgetter(0)) for place in (start, end))
        names = ((one - start, other - start, name) for one, other, name in self._put[first:last])
        return lexer.replaced(self.text[start:end], names)


def _site(scan: _Scan, index: int, plugins: frozenset[str]) -> Site | None:
    token = scan.found[index]
    following = scan.found[index + 1].text if index + 1 < len(scan.found) else ""
    if token.text in READERS and (following == "(" or (token.text == "inline_external_table" and following == "kind")):
        return _reader_site(scan, index)
    if token.text == "evaluate" and (index == 0 or scan.found[index - 1].text in _BEFORE_EVALUATE):
        return _plugin_site(scan, index, plugins)
    return None


def has_wildcard_union(text: str) -> bool:
    """Check whether a query names tables by a wildcard."""
    depth: int | None = None
    for token in tokens(text):
        if token.text in {"union", "find", "search"}:
            depth = 0
        elif depth is not None:
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            if depth < 0 or (token.text in {"|", ";"} and depth == 0):
                depth = None
            elif token.text == "*" and depth == 0:
                return True
    return False


def _reader_site(scan: _Scan, index: int) -> Site:
    token = scan.found[index]
    reader = Reader(scan.text, token.end)
    prelude = partial(scan.written, 0, scan.statement)
    if token.text == "external_table":
        arguments = reader.expressions("(", ")")
        start, database = qualifier(scan.found, index)
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
    place = (token.text, token.start, reader.position)
    return Site(*place, prelude, arguments, columns, properties, kind, by, path_format)


def storage_kind(reader: Reader, columns: tuple[Column, ...]) -> tuple[str, tuple[Partition, ...], str]:
    """Consume ``kind = storage [partition by …] dataformat = csv``; return the format, the partitions and the path format."""
    reader.expect("kind")
    reader.expect("=")
    if reader.take("delta"):
        raise unsupported("inline external tables of the kind delta")
    if not any(reader.take(word) for word in ("storage", "blob", "adl")):
        raise reader.mismatch("'storage' (the local cluster does not support this kind)")
    by = partitions.take(reader, [column.name for column in columns])
    reader.expect("dataformat")
    reader.expect("=")
    token = reader.next()
    return (token.value if token.kind is Kind.STRING else token.text), *by


def _with(reader: Reader) -> dict[str, str]:
    return reader.properties() if reader.take("with") else {}


def _plugin_site(scan: _Scan, index: int, plugins: frozenset[str]) -> Site | None:
    reader = Reader(scan.text, scan.found[index].end)
    while reader.peek().text == "hint":  # hint.distribution = per_node
        for _ in range(5):
            reader.next()
    name = reader.next()
    if name.text not in plugins:
        return None
    arguments = reader.expressions("(", ")")
    if reader.take(":"):
        reader.schema()
    start, source = scan.found[index].start, None
    if index and scan.found[index - 1].text == "|":
        start = scan.pipe_start()
        source = scan.written(start, scan.found[index - 1].start)
    return Site(name.text, start, reader.position, partial(scan.written, 0, scan.statement), arguments, source=source)


def qualifier(found: list[Token], index: int) -> tuple[int, str]:
    """Return the start of the ``database('…').`` before a token and the name in it, or the token's own start and no name."""
    before = found[max(index - 5, 0) : index]
    if [token.text for token in before if token.kind is not Kind.STRING] == ["database", "(", ")", "."]:
        return before[0].start, before[2].value
    return found[index].start, ""
