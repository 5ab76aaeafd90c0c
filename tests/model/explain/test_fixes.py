"""Tests of the lines that open a gate: narrow, and safe to copy."""

import pytest

from kqlmi.model.entities import Scope
from kqlmi.model.explain import fixes
from kqlmi.notebook.face import NOTEBOOK
from kqlmi.verbs import VERBS
from kqlmi.verbs.arguments import split

MINE = "11111111-2222-3333-4444-555555555555"


@pytest.mark.parametrize(
    ("usage", "scope", "where"),
    [
        ("ExternalTable", Scope.database("D"), "--database=D"),
        ("ExternalTable", Scope.database("My db"), '--database="My db"'),
        ("ExternalTable", Scope.database('a "b"'), "--database='a \"b\"'"),
        ("ExternalTable", Scope.database("--cluster"), "--database=--cluster"),
        ("SandboxArtifacts", Scope.database("D"), "--cluster"),
        ("ExternalTable", Scope.cluster(), "--cluster"),
    ],
)
def test_a_grant_is_as_narrow_as_its_usage_allows(usage: str, scope: Scope, where: str) -> None:
    (line,) = fixes.grant(MINE, usage, scope, "prod")
    assert line == f"%kqlmi grant {MINE} {usage} {where} --on=prod"
    _, options = NOTEBOOK.syntax(VERBS["grant"]).parse(split(line.removeprefix("%kqlmi grant ")))
    assert options.get("database", (scope.name,)) == (scope.name,) or usage == "SandboxArtifacts"


@pytest.mark.parametrize("name", ["Te*t", "a'b\"c", "x\nprint(1) #", "a?b"])
def test_a_name_that_a_line_cannot_contain_produces_no_line(name: str) -> None:
    assert fixes.grant(MINE, "ExternalTable", Scope.database(name)) == ()
    assert fixes.grant(MINE, "ExternalTable", Scope.database("D"), name) == ()


def test_the_line_that_assigns_is_safe_to_copy() -> None:
    assert fixes.assign("system", "my cluster") == '%kqlmi assign system --on="my cluster"'
    assert fixes.assign("id-1_a") == "%kqlmi assign id-1_a"
    for unsafe in ("", "--on", "a b", "a;b"):
        assert fixes.assign(unsafe, "[x]") == "%kqlmi assign NAME --on=SESSION"
