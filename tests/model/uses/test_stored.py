"""Tests of expanding the stored functions and external tables that a query calls."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqlmi.model.kql.source_map import Mapped, Text
from kqlmi.model.uses.commandflows import external_table_uses
from kqlmi.model.uses.documents import uses
from kqlmi.model.uses.queryflows import Stored
from kqlmi.model.uses.references import named_by
from tests.model.uses.test_references import OID, SYS, URL, A
from tests.work import grows_no_faster_than_its_input

FUNCTIONS = {
    "Plain": ("()", f"{{ externaldata(x:string)['{SYS}'] }}"),
    "At": (f"(n:long, u:string='{SYS}')", "{ externaldata(x:string)[u] | take n }"),
    "By": ("(T:(*), id:string)", f"{{ T | union (externaldata(x:string)[strcat('{URL};managed_identity=', id)]) }}"),
    "Outer": ("(u:string)", "{ let v = u; At(1, v) }"),
    "Loop": ("(u:string)", "{ Loop(strcat(u, 'x')) | union Loop(strcat(u, 'y')), (externaldata(x:string)[u]) }"),
    "Masked": ("()", "{ externaldata(x:string)[h'*****'] }"),
    "Table": ("()", "{ external_table('X') }"),
}


def found(text: str, **functions: tuple[str, str]) -> list[tuple[str, str | None, str]]:
    externals = {"X": tuple(external_table_uses("delta", [Text((Mapped.whole(OID),))]))}
    stored = Stored(functions or FUNCTIONS, externals)
    return [(one.flow, one.identity, text[one.start : one.end]) for one in named_by(uses(text, stored=stored))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Plain() | count", [("externaldata", "system", "Plain")]),
        ("Plain | count", [("externaldata", "system", "Plain")]),
        ("T | union (Plain)", [("externaldata", "system", "Plain")]),
        ("At(1)", [("externaldata", "system", "At")]),
        (f"At(1, '{OID}')", [("externaldata", A, A)]),
        (f"let u = '{OID}'; At(n=1, u=u)", [("externaldata", A, A)]),
        ("At(1, Column)", [("externaldata", None, "Column")]),
        (f"T | invoke By('{A}')", [("externaldata", A, A)]),
        (f"By(T, '{A}')", [("externaldata", A, A)]),
        (f"Outer('{OID}')", [("externaldata", A, A)]),
        ("Masked()", [("externaldata", None, "Masked")]),
        ("external_table('X') | take 1", [("external_table.delta", A, "external_table")]),
        ("Table", [("external_table.delta", A, "Table")]),
        (".set-or-append T <| Plain()", [("externaldata", "system", "Plain")]),
        ('.alter table T policy update \'[{"Query":"Plain()"}]\'', [("externaldata", "system", "Plain")]),
        (".execute database script <|\n.create function F() { Plain() }", [("externaldata", "system", "Plain")]),
        (f"let Plain = 1; Plain | project '{SYS}'", []),
        ("database('Other').Plain()", []),
        ("T | where x == 'Plain()' // Plain()", []),
        ("external_table('Y'), external_table(Name)", []),
        (f"Unknown('{SYS}')", [("unknown flow: Unknown", "system", "system")]),
    ],
)
def test_a_call_uses_what_its_function_or_table_uses(text: str, expected: list[tuple[str, str | None, str]]) -> None:
    assert found(text) == expected


def test_a_function_that_calls_itself_is_expanded_a_limited_number_of_times() -> None:
    assert found(f"Loop('{OID}')")


PIECES = [
    "external_table",
    "(",
    "'X'",
    ")",
    "F",
    ",",
    "x",
    "=",
    "{",
    "}",
    "|",
    "invoke",
    ";",
    "let",
    "union",
    ":",
    "T:(*)",
    SYS,
    f"'{SYS}'",
]
BROKEN = st.lists(st.sampled_from(PIECES), max_size=8).map(" ".join)


@given(BROKEN, BROKEN | st.text(), BROKEN | st.text())
def test_no_text_and_no_stored_text_raises(text: str, declared: str, body: str) -> None:
    assert all(one is not None for one in found(text, F=(declared, body)))


def test_many_calls_are_read_in_linear_time() -> None:
    assert grows_no_faster_than_its_input(lambda size: lambda: found("Plain(); " * (size // 9) + "Plain"), 4_000)
    chain = {f"F{n}": ("()", f"{{ F{n + 1}() | union F{n + 1}(), F{n + 1}() }}") for n in range(100)}
    assert found("F0()", **chain, F100=FUNCTIONS["Plain"]) == [("externaldata", "system", "F0")]
