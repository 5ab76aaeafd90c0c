"""The registry of management commands: their declaration, matching and calling."""

import logging
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar

from kqlmi.local import enforce
from kqlmi.local.language.lexer import Kind, next_token, readable, tokens
from kqlmi.local.language.reader import Mismatch, Reader
from kqlmi.local.query.queries import Queries
from kqlmi.local.state import masking
from kqlmi.local.state.activity import Change, Run
from kqlmi.local.state.state import Database, State, key
from kqlmi.local.values import kusto_time
from kqlmi.local.values.connectionstrings import named_identities
from kqlmi.local.values.faults import KustoError, forbidden_operation, syntax_error, unsupported
from kqlmi.local.values.principals import Caller, Role
from kqlmi.local.values.tables import Column, Table, columns

Rows = Iterable[tuple[Any, ...]]
Answer = TypeVar("Answer", bound=Callable[["Call"], Rows | Table])


class Endpoint(StrEnum):
    """The two services of a cluster, each at its own URL."""

    QUERY = "query"
    INGEST = "ingest"


@dataclass(frozen=True)
class Call:
    """A call of a command: its arguments, its caller, and its context."""

    queries: Queries
    caller: Caller
    run: Run
    context_name: str | None
    seconds: float
    args: dict[str, Any]
    endpoint: Endpoint = Endpoint.QUERY
    operation: str = ""
    columns: tuple[Column, ...] = ()

    @property
    def state(self) -> State:
        """The cluster's state."""
        return self.queries.state

    def allowed(self, roles: frozenset[Role], entity: str = "", *, database: str | None = None) -> Database:
        """Return the database that the command names, or the current one, if the caller has one of the roles.

        Roles on the ``entity`` that the command concerns, such as ``Table T``, count too. The error is the same whether
        or not the database and the entity exist.
        """
        name = self.args.get("database", database)
        if name is None:
            try:
                name = self.queries.context(self.caller, self.context_name)
            except KustoError:  # the caller cannot see any database
                self.require(roles)
                raise
        self.require(roles, self.state.world.databases.get(key(name)), entity)
        return self.state.database(name)

    def require(self, roles: frozenset[Role], database: Database | None = None, entity: str = "") -> None:
        """Raise unless the caller has one of the roles on the cluster, on a database or on one of its entities."""
        if not self.state.roles(self.caller, database, entity) & roles:
            raise forbidden_operation(self.caller.principal.fqn, self.operation, self.state.url)

    def queried(self) -> Table:
        """Return the result of the query that the command contains."""
        return self.queries.first(
            self.args["query"], self.caller, self.context_name, run=self.run, seconds=self.seconds
        )

    def later(self, work: Callable[["Call"], Rows]) -> Rows:
        """Do the work of a command and return its rows; if ``async``, do it in the background and return the operation's ID.

        Check the caller's roles before this call.
        """
        given = self.args.get("properties", {}).get("persistdetails", "").strip("'\"").lower()
        is_async = self.args.get("async", False)
        run = replace(self.run, operation_id=str(uuid.uuid4()), started=kusto_time.now()) if is_async else self.run

        def do() -> Rows:
            rows = tuple(work(replace(self, run=run)))
            if given == "true" or (is_async and given != "false"):
                run.details = Table(self.columns, rows)
            return rows

        if not is_async:
            return do()
        state = self.state

        def background() -> None:
            failure: BaseException | None = None
            try:
                do()
            except KustoError as error:
                failure = masking.shown(state, error, run.hidden)
            except Exception as error:  # noqa: BLE001 - no request waits for it
                _LOG.exception("an operation of the local cluster failed")
                failure = error
            state.activity.end(run, failure)
            state.keep()

        state.activity.start(run, background)
        return [(run.operation_id,)]

    def record(
        self, event: str, database: Database | None, *, entity: str = "", before: str = "", after: str = ""
    ) -> None:
        """Record a change in the journal, with a later time than every entry before it."""
        state = self.state
        with state.lock:
            latest = state.world.journal[-1].timestamp if state.world.journal else 0
            change = Change(
                event=event,
                timestamp=max(kusto_time.now(), latest + 10),
                database=database.name if database else "",
                entity=entity or (database.name if database else ""),
                version=database.version if database else len(state.world.journal) + 1,
                before=before,
                after=after,
                command=self.run.text,
                principal=self.caller.principal,
                client_request_id=self.run.client_request_id,
                activity_id=self.run.activity_id,
            )
            state.change(lambda w: replace(w, journal=(*w.journal, change)))


@dataclass(frozen=True)
class Command:
    """A registered command: its result columns, and the function that runs it."""

    columns: tuple[Column, ...]
    function: Callable[[Call], Rows | Table]
    operation: str
    needs: frozenset[Role]
    writes: bool
    endpoints: frozenset[Endpoint]
    is_long: bool

    def __call__(self, call: Call) -> Table:
        """Run the command if the caller has a required role, and return its table."""
        call = replace(call, operation=self.operation, columns=self.columns)
        if self.needs:
            call.require(self.needs)
        rows = self.function(call)
        declared = _OPERATION if call.args.get("async") else self.columns
        return rows if isinstance(rows, Table) else Table(declared, tuple(rows))


@dataclass(frozen=True)
class Matched:
    """A parsed command: its arguments, and the query operators, or the query after a ``;``, that follow it."""

    command: Command
    args: dict[str, Any]
    operators: str = ""
    query: str = ""


Shape = Callable[[Reader, str], Any]

_LOG = logging.getLogger(__name__)
_OPERATION = columns("OperationId: guid")
_COMMANDS: dict[str, list[tuple[str, Command]]] = {}
_SHAPES: dict[str, Shape] = {}
_KNOWN: dict[str, list[tuple[str, str, str]]] = {}


def command(
    *patterns: str,
    schema: str,
    name: str = "",
    needs: frozenset[Role] = frozenset(),
    writes: bool = False,
    long: bool = False,
    endpoints: Iterable[Endpoint] = (Endpoint.QUERY,),
) -> Callable[[Answer], Answer]:
    """Register a function for the commands that match one of the patterns.

    A pattern consists of words, ``{shape:argument}`` (see ``shape``) and ``{word}``, an argument that is True; a part
    in brackets is optional. The first word is the argument ``verb``. ``name`` is the name of the operation, by default
    that of the function; ``{verb}`` in it is replaced, and ``{ifexists}`` and ``{ifnotexists}`` in the pattern extend
    it. The caller must have one of the roles ``needs`` in the whole cluster; roles in a database are checked by the
    function. ``endpoints`` are the services that accept the command. One that runs a query or opens storage is
    ``long``, as is any with ``{rest:…}``.
    """
    is_long = long or any("{rest:" in one for one in patterns)

    def register(function: Answer) -> Answer:
        for verb, one in _expanded(patterns):
            flags = "_if_exists" * ("{ifexists}" in one) + "_if_not_exists" * ("{ifnotexists}" in one)
            operation = re.sub("[_-]", "", f"{name or function.__name__}{flags}_command".format(verb=verb).title())
            declared = Command(columns(schema), function, operation, needs, writes, frozenset(endpoints), is_long)
            _COMMANDS.setdefault(verb, []).append((one, declared))
        return function

    return register


def known(feature: str, *patterns: str, flow: str = "") -> None:
    """Register documented commands that are not supported, by their beginnings; ``feature`` may name an argument in braces.

    ``flow`` is the workflow if a connection string follows in which a managed identity is not allowed.
    """
    for verb, one in _expanded(patterns):
        _KNOWN.setdefault(verb, []).append((one, feature, flow))


def shape(name: str) -> Callable[[Shape], Shape]:
    """Register a function that takes the part ``{name:argument}`` of a pattern from a reader; it also receives the verb."""

    def register(function: Shape) -> Shape:
        _SHAPES[name] = function
        return function

    return register


def match(text: str) -> Matched:
    """Return the command in a request, or raise a syntax error."""
    reader = Reader(text)
    reader.expect(".")
    mismatches: list[Mismatch] = []
    first = reader.peek().text
    verbs = (verb for verb in (*_COMMANDS, *_KNOWN) if verb.startswith(first))
    verb = next((verb for verb in verbs if Reader(text, reader.position).take(verb)), "")
    for pattern, candidate in _COMMANDS.get(verb, ()):
        try:
            args, position = _read(pattern, text)
        except Mismatch as mismatch:
            mismatches.append(mismatch)
        else:
            return Matched(candidate, args, *_following(text, position))
    for pattern, feature, flow in _KNOWN.get(verb, ()):
        with suppress(Mismatch):
            args, position = _read(pattern, text, is_whole=False)
            for token in readable(text[position:])[0] if flow else ():  # up to a malformed literal
                for identity in named_identities(token.value):
                    raise enforce.disabled(flow, identity)
            raise unsupported(feature.format(**args))
    furthest = max((mismatch.position for mismatch in mismatches), default=reader.peek().start)
    expected = {one.expected for one in mismatches if one.position == furthest}
    if len(expected) == 1:
        raise Mismatch(furthest, expected.pop()).as_fault(text)
    word = next_token(text, furthest).text
    what = f"{word!r} at offset {furthest} is not recognised" if word else "the command ends too early"
    raise syntax_error(f"{what}; the local cluster does not know this command")


def _expanded(patterns: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each pattern with and without its optional parts, each after its verb."""
    for pattern in patterns:
        if optional := re.search(r"\[(.*?)\]", pattern):
            before, after = pattern[: optional.start()], pattern[optional.end() :]
            yield from _expanded((before + optional[1] + after, before + after))
        else:
            yield pattern.removeprefix(".").partition(" ")[0], pattern


def _read(pattern: str, text: str, *, is_whole: bool = True) -> tuple[dict[str, Any], int]:
    """Return the arguments of a command, and the position of its end."""
    reader = Reader(text)
    reader.expect(".")
    verb, *parts = pattern.removeprefix(".").split()
    args: dict[str, Any] = {"verb": verb}
    reader.expect(verb)
    for part in parts:
        if part.startswith("{"):
            kind, _, name = part.strip("{}").partition(":")
            if name:
                args[name] = _SHAPES[kind](reader, verb)
            else:
                reader.expect(kind)
                args[kind] = True
        else:
            reader.expect(part)
    if is_whole and not reader.at_end() and reader.peek().text not in {"|", ";"}:
        raise reader.mismatch("'|', ';' or the end of the command")
    return args, reader.position


def _following(text: str, position: int) -> tuple[str, str]:
    """Return the operators that follow a command, and the query after a ``;``; a request has at most one of the two."""
    tail = text[position:]
    end = next((token for token in tokens(tail) if token.text == ";" and token.kind is not Kind.STRING), None)
    operators, rest = (tail, "") if end is None else (tail[: end.start], tail[end.end :])
    reader = Reader(rest)
    while reader.take(";"):
        pass
    if reader.at_end():
        return operators if operators.strip() and not Reader(operators).at_end() else "", ""
    if not Reader(operators).at_end() or reader.peek().text == ".":
        raise Mismatch(len(text) - len(rest) + reader.peek().start, "the end of the command").as_fault(text)
    return "", rest[reader.position :]
