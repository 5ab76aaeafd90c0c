import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqlmi.errors import InputError
from kqlmi.model.entities import Scope
from kqlmi.model.kql import quoting
from kqlmi.model.kql.source_map import literal_value
from kqlmi.model.policy import commands
from kqlmi.model.policy.commands import PolicyCommand
from kqlmi.model.policy.policy import Policy
from kqlmi.model.statement import Statement

# Lone surrogates cannot be sent, but must not break the preview.
HOSTILE = st.text(st.characters(exclude_categories=[]), min_size=1, max_size=20)
NAMES = HOSTILE | st.sampled_from(
    ["policy", "O'Brien", 'it\'s "x"', "a]b", "\\", "```", "a\r\nb", "\u2028", "{db}", "cluster"]
)


@given(HOSTILE)
def test_a_literal_reads_back_as_its_text(text: str) -> None:
    assert literal_value(quoting.literal(text)) == text
    assert literal_value(quoting.fence(text)) == text


@given(HOSTILE)
def test_a_literal_shows_everything_that_is_in_it(text: str) -> None:
    assert quoting.literal(text).isprintable()


@given(NAMES)
def test_a_command_stays_one_command_whatever_the_name(name: str) -> None:
    policy = Policy.empty().grant("system", "ExternalTable")
    scope = Scope.database(name)
    for text, verb in (
        (commands.show(scope), "show"),
        (commands.alter(scope, policy), "alter"),
        (commands.alter_merge(scope, policy), "alter-merge"),
        (commands.delete(scope), "delete"),
    ):
        command = Statement(text).policy_command
        assert command is not None
        assert command.scope is not None
        assert (command.verb, command.scope.name, command.piped) == (verb, name, False)
        if verb.startswith("alter"):
            assert Policy.parse(command.payload) == policy


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (".show cluster policy managed_identity", PolicyCommand("show", Scope.cluster(), None, piped=False)),
        (" // hello\n. show database policy managed_identity", PolicyCommand("show", None, None, piped=False)),
        (".show database ['a' 'b'] policy managed_identity | count", PolicyCommand("show", Scope.database("ab"), None, piped=True)),
        (".alter database my_db policy managed_identity'[]'", PolicyCommand("alter", Scope.database("my_db"), "[]", piped=False)),
        (".alter database [@'a''b'] policy managed_identity h\"[]\"", PolicyCommand("alter", Scope.database("a'b"), "[]", piped=False)),
        (".alter database 'my db' policy managed_identity ~~~[]~~~", PolicyCommand("alter", Scope.database("my db"), "[]", piped=False)),
        (".alter database [my db] policy managed_identity ```\n[]\n```", PolicyCommand("alter", Scope.database("my db"), "\n[]\n", piped=False)),
        (".delete database ['\\u0041\\x42\\103'] policy managed_identity", PolicyCommand("delete", Scope.database("ABC"), None, piped=False)),
    ],
)  # fmt: skip
def test_every_spelling_of_a_policy_command_is_read(text: str, expected: PolicyCommand) -> None:
    assert Statement(text).policy_command == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "print 1",
        ".show databases",
        ".alter managed_identity policy database X '[]'",
        ".alter - merge cluster policy managed_identity '[]'",
        ".show cluster policy callout",
        ".show cluster policy managed_identity .show databases",
        ".alter database ['a\\q'] policy managed_identity '[]'",
        ".show database [",
    ],
)
def test_anything_else_is_not_a_policy_command(text: str) -> None:
    assert Statement(text).policy_command is None


def test_a_payload_that_needs_it_falls_back_from_the_fence() -> None:
    assert quoting.fence("a```b").startswith("'")
    assert quoting.fence("a`").startswith("'")
    assert quoting.fence("[\n]") == "```[\n]```"


@pytest.mark.parametrize("text", ["'\\q'", "'\\8'", "'\\U00110000'"])
def test_an_escape_unknown_to_kusto_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="escape"):
        literal_value(text)


def test_a_leading_comment_does_not_turn_a_command_into_a_query() -> None:
    assert Statement("// about\n  .show databases").kind == "command"
    assert Statement("// .show\nprint 1").kind == "query"
    assert Statement("let x = 1; .show databases").kind == "query"


def test_an_invalid_payload_is_explained() -> None:
    command = Statement(
        """.alter cluster policy managed_identity '[{"ObjectId":"system","AllowedUsages":"Al"}]'"""
    ).policy_command
    assert command is not None
    assert "Did you mean All?" in commands.fault(command)


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(InputError, match="empty"):
        Scope.database("")
