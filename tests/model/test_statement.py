"""Tests that a statement keeps the text that is sent, and parses it once."""

import copy
import json
from typing import Any

import pytest

from kqlmi.errors import InputError
from kqlmi.model.kql import tokenizer
from kqlmi.model.statement import Statement

GRANT = """.alter database ['D'] policy managed_identity '[{"ObjectId":"system","AllowedUsages":"All"}]'"""
BLOB = "https://acct.blob.core.windows.net/data/a.csv"


def test_a_statement_is_its_text_byte_for_byte() -> None:
    text = " // é\r\n.show\tdatabases \x00\u2028"
    assert Statement(text) == text
    assert json.dumps(Statement(text)) == json.dumps(text)
    assert copy.deepcopy(Statement(text)) == text


@pytest.mark.parametrize("value", [None, b".show databases", 1])
def test_a_value_that_is_not_text_is_not_a_statement(value: Any) -> None:
    with pytest.raises(TypeError):
        Statement.parse(value)


def test_a_statement_is_parsed_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    statement = Statement.parse(f".execute database script <|\n{GRANT}")
    assert Statement.parse(statement) is statement
    assert statement.tokens
    monkeypatch.setattr(tokenizer, "tokens", None)
    assert (statement.kind, statement.is_write, statement.second_command) == ("command", True, "")
    assert statement.policy_command is None
    [write] = statement.policy_writes
    assert (write.verb, str(write.scope)) == ("alter", "database D")
    assert (statement.references, statement.hidden) == ((), frozenset())
    assert statement.masked == statement


@pytest.mark.parametrize(
    ("text", "kind", "is_write"),
    [
        (".show databases", "command", False),
        (". // why\nshow databases", "command", False),
        (".drop table T", "command", True),
        (".", "command", True),
        (".Show databases", "command", True),
        ("show databases", "query", False),
        ("", "query", False),
        ("'a'\n.drop table T", "query", False),
    ],
)
def test_a_command_other_than_show_may_write(text: str, kind: str, is_write: bool) -> None:  # noqa: FBT001
    assert (Statement(text).kind, Statement(text).is_write) == (kind, is_write)


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("print ('a)\n.drop table T", ".drop table T"),
        ("print h'hunter2)\n.drop table T h'x'", ".drop table T"),
        ("print (1\n.drop table T", ""),
    ],
)
def test_a_literal_that_is_not_closed_hides_no_second_command(text: str, second: str) -> None:
    assert Statement(text).second_command == second


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("print h'hunter2", "hunter2"),
        ("print h```hunter2\nhunter3", "hunter2\nhunter3"),
        (f"externaldata (a: string) [h'{BLOB};hunter2]", "hunter2]"),
        ("print \"it is h'hunter2' or so", "hunter2"),
        ('print \'it is h@"hunter2\\"" or so', "hunter2\\"),
        ("```\nprint h'hunter2'", "hunter2"),
        ("print h\"left open, h'hunter2'", "hunter2"),
        ("print h\"left open, h@'hunt''hunter2'", "hunt'hunter2"),
        ("print h```left open h'hunter2'", "hunter2"),
        ("print 'left open h'hunter2'", "hunter2"),
        ("print 'left open h```hunter1\nhunter2``` \"", "hunter1\nhunter2"),
    ],
)
def test_a_secret_is_found_in_an_unclosed_literal(text: str, secret: str) -> None:
    assert secret in Statement(text).hidden
    assert "hunter" not in Statement(text).masked


def test_nothing_is_kept_of_an_unclosed_literal() -> None:
    assert Statement("print 'a // hunter2\n| take 1").masked == "print h'****'\n| take 1"


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("print h'hunter2'", {"hunter2"}),
        ('print H@"hunt""er2"', {'hunt"er2', 'hunt""er2'}),
        ("print h```hunter2```", {"hunter2"}),
        (f"externaldata (a: string) [h'{BLOB};managed_identity=system']", set()),
        (f"externaldata (a: string) [h'{BLOB};impersonate']", set()),
        (f"externaldata (a: string) [h'{BLOB};hunter2']", {"hunter2"}),
        (f"externaldata (a: string) [h'{BLOB}']", set()),
        ("print 'hunter2' // h'x'", set()),
        ("print 'Password=hunter2'", {"hunter2"}),
    ],
)
def test_hidden_literals_of_a_text_are_found(text: str, secrets: set[str]) -> None:
    assert Statement(text).hidden == secrets


def test_a_text_is_kept_without_comments_and_secrets() -> None:
    text = "// why\n.alter cluster policy managed_identity  h'[]' // hunter2\n  | project Policy, 'AccountKey=hunter2'"
    assert (
        Statement(text).masked == ".alter cluster policy managed_identity h'****'\n| project Policy, 'AccountKey=****'"
    )


def test_an_offset_is_on_a_line() -> None:
    statement = Statement("a\nb\r\nc")
    assert [statement.line(statement.index(one)) for one in "abc"] == [1, 2, 3]


def test_a_query_has_the_values_of_its_parameters_and_an_unchanged_text() -> None:
    text = "declare query_parameters(state:string, since:datetime);\nT"
    statement = Statement(text)
    found = statement.bound({"state": "PLANTED-value", "since": "2024-01-31"})
    assert (found, found.parameters) == (text, {"state": "PLANTED-value", "since": "datetime(2024-01-31)"})
    assert statement.parameters == {}
    assert found.hidden == {"PLANTED-value"}
    assert not statement.hidden


def test_a_command_has_no_parameters() -> None:
    with pytest.raises(InputError, match="A command has no parameters"):
        Statement(".show databases").bound({"x": 1})
