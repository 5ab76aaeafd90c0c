"""Tests that the local cluster reads a text in linear time, by counting work instead of measuring time."""

from collections.abc import Callable

import pytest

from kqlmi.local import commands
from kqlmi.local.dispatch import registry
from kqlmi.local.engine import kqltext
from kqlmi.local.language import constants, lexer, reader
from kqlmi.local.query import external_calls
from kqlmi.local.query.expansion import Expansion, Question, Source
from kqlmi.local.query.queries import Queries
from kqlmi.local.state.activity import Run
from kqlmi.local.state.entities import Function
from kqlmi.local.state.state import Database, State, World, key
from kqlmi.local.values.faults import KustoError
from kqlmi.local.values.principals import Caller, Role, new_app
from kqlmi.local.values.tables import Table, columns
from tests.work import grows_no_faster_than_its_input

BLOB = "'https://acct.blob.core.windows.net/data/a.csv'"
NAMED = "kqlmi_" + "0" * 32

# Each value is a query of n parts.
QUERIES: dict[str, Callable[[int], str]] = {
    "externaldata": lambda n: "union " + ", ".join([f"(externaldata (x: int) [{BLOB}])"] * n),
    "externaldata in statements": lambda n: (
        "".join(f"let a{i} = externaldata (x: int) [{BLOB}];" for i in range(n)) + "a0"
    ),
    "plugins in one pipe": lambda n: "T" + " | evaluate r('x')" * n,
    "plugins in brackets": lambda n: "T | where x in (" + ", ".join(["(T | evaluate r('x'))"] * n) + ")",
    "statements": lambda n: "".join(f"let a{i} = {i};" for i in range(n)) + "T",
    "nested brackets": lambda n: "print " + "(" * n + "1" + ")" * n,
    "unclosed literals": lambda n: "print " + "bool(" * n,
    "strings": lambda n: "print " + "'a' " * n,
    "functions in the query": lambda n: "".join(f"let f{i} = () {{ {i} }};" for i in range(n)) + "T",
    "names": lambda n: "T | project " + ", ".join(f"['c {i}'] = 1" for i in range(n)),
}

COMMANDS: dict[str, Callable[[int], str]] = {
    "columns": lambda n: f".create table T ({', '.join(f'c{i}: int' for i in range(n))})",
    "a payload": lambda n: ".alter cluster policy callout '[" + ",".join(["{}"] * n) + "]'",
    "a payload in pieces": lambda n: ".alter cluster policy callout '['" + " ' '" * n + " ']'",
    "connection strings": lambda n: f".export to csv ({', '.join([BLOB] * n)}) <| T",
    "a function": lambda n: ".create function F() { " + "print 1; " * n + "}",
    "semicolons": lambda n: ".show version" + ";" * n,
    "operators after it": lambda n: ".show version" + " | where 1 == 1" * n,
    "words that are not a command": lambda n: ".show" + " x" * n,
}


@pytest.fixture(autouse=True)
def _forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable the cache of tokens, which helps short texts more than long ones."""
    read_anew = lexer.next_token.__wrapped__
    for module in (external_calls, kqltext, lexer, reader, registry):
        monkeypatch.setattr(module, "next_token", read_anew)


def read(text: str) -> None:
    """Read a query as the local cluster does before its engine sees it."""
    for_engine = external_calls.replaced(text, frozenset({"r"}), lambda _site: NAMED)
    lexer.mask_hidden(text)
    external_calls.has_wildcard_union(for_engine)
    try:
        kqltext.for_engine(for_engine, str)
    except KustoError as error:
        assert "at most" in error.detail  # noqa: PT017 - only what is too much for the engine


def match(text: str) -> None:
    try:
        commands.match(text)
    except KustoError as error:
        assert "SYN0002" in error.detail  # noqa: PT017 - the words that are not a command


@pytest.mark.parametrize("shape", QUERIES)
def test_a_query_is_read_in_linear_time(shape: str) -> None:
    assert grows_no_faster_than_its_input(lambda n: lambda: read(QUERIES[shape](n)), 50)


@pytest.mark.parametrize("shape", COMMANDS)
def test_a_command_is_read_in_linear_time(shape: str) -> None:
    assert grows_no_faster_than_its_input(lambda n: lambda: match(COMMANDS[shape](n)), 50)


def test_columns_of_a_print_are_read_in_linear_time() -> None:
    def texts(count: int) -> Callable[[], object]:
        return lambda: constants.evaluate("print " + ", ".join(f"c{i} = 1" for i in range(count)))

    assert grows_no_faster_than_its_input(texts, 50)


def test_statements_that_a_site_does_not_request_are_not_built() -> None:
    """The statements before a site are requested only if an argument needs them, because building all of them is quadratic."""
    lengths: list[int] = []

    def by(site: external_calls.Site) -> str:
        lengths.append(len(site.prelude()))
        return NAMED

    text = QUERIES["externaldata in statements"](3)
    assert external_calls.replaced(text, frozenset(), by) == "".join(f"let a{i} = {NAMED};" for i in range(3)) + "a0"
    one = len(f"let a0 = {NAMED};")
    assert lengths == [0, one, 2 * one]


def test_a_pipe_is_split_with_the_names_of_its_inputs() -> None:
    sources: list[str | None] = []

    def by(site: external_calls.Site) -> str:
        sources.append(site.source)
        return f"N{len(sources)}"

    text = f"let a = externaldata (x: int) [{BLOB}] | evaluate r('x') | take 1 | evaluate r('y') | count; a"
    assert external_calls.replaced(text, frozenset({"r"}), by) == "let a =N3 | count; a"
    assert sources == [None, " N1 ", "N2 | take 1 "]


def queries() -> tuple[Queries, Caller]:
    functions = {f"F{i}": Function(f"F{i}", "()", f"{{ F{i + 1}() }}") for i in range(300)}
    table = Table(columns("a: string"))
    state = State(World(databases={key("Samples"): Database("Samples", tables={"T": table}, functions=functions)}))
    return Queries(state), Caller(new_app("admin"), frozenset({Role.ADMINS}))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("T" + " | where a == 'x'" * 501, "at most 500 operators"),
        ("T" + " | join kind=inner (T) on a" * 101, "at most 100 joins"),
        ("union " + ", ".join(["T"] * 3002), "at most 3000 united tables"),
        ("F0()", "more than 100 levels deep"),
    ],
)
def test_a_query_that_the_engine_would_plan_forever_is_refused(text: str, says: str) -> None:
    asked, caller = queries()
    run = Run(is_query=True, text="", principal=caller.principal)
    with pytest.raises(KustoError, match=says) as refused:
        asked.run(text, caller, "Samples", run=run, seconds=60.0)
    assert (refused.value.status, refused.value.code) == (400, "General_BadRequest")


def test_arguments_that_use_preceding_statements_are_bounded() -> None:
    asked, caller = queries()
    run = Run(is_query=True, text="", principal=caller.principal)
    reads: list[int] = []

    def answer(_expansion: Expansion, text: str, _context: Database) -> Table:
        reads.append(len(text))
        return Table(columns("kqlmi_value: string"), ((BLOB.strip("'"),),))

    question = Question(caller, run, 60.0, lambda name: asked.state.readable(caller, name))
    expansion = Expansion(
        asked.state,
        question,
        answer,
        {"x": Source((), lambda: Table(()))},
    )
    text = "".join(f"let a{i} = externaldata (x: int) [strcat({BLOB}, '')];" for i in range(1_500)) + "a0"
    with pytest.raises(KustoError, match="at most 200000 characters"):
        expansion.expand(text, asked.state.database("Samples"))
    assert sum(reads) <= 200_000
