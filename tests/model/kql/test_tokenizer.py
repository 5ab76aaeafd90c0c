"""Tokens and literals are those of Kusto's own lexer, and a text costs no more than its length."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqlmi.local.language import lexer
from kqlmi.local.values.faults import KustoError
from kqlmi.model import jsontext
from kqlmi.model.entities import Scope
from kqlmi.model.kql import tokenizer
from kqlmi.model.kql.source_map import Mapped, json_string, literal
from kqlmi.model.kql.tokenizer import literal_value, tokens
from kqlmi.model.policy.commands import read

# The rules of TokenParser.cs as one expression, which looks at each quote afresh, to the end of its line.
AFRESH = re.compile(
    rf"""
    (?P<blank>   [{tokenizer.BLANKS}]+ | //[^\r\n\u2028\u2029]* )
  | (?P<literal> [hH]? (?: ```.*?``` | ~~~.*?~~~ ) | [hH]?@'(?:[^'\r\n]|'')*' | [hH]?@"(?:[^"\r\n]|"")*"
               | [hH]?'(?:[^'\\\r\n]|\\[^\r\n])*' | [hH]?"(?:[^"\\\r\n]|\\[^\r\n])*" )
  | (?P<word>    [0-9]*[A-Za-z_$][A-Za-z0-9_]* | [0-9]+ )
  | (?P<mark>    . )
    """,
    re.VERBOSE | re.DOTALL,
)
PIECES = [*"'\"@\\hH`~\n\r\u2028a0 |", "```", "~~~", "//", "''", '""', "\\'"]
PAIR = r"\ud83d\ude00"
ESCAPES = [r"\ud83d", r"\ude00", PAIR, r"\u0041", r"\x41", r"\101", r"\U0001f600", r"\\", r"\'", r"\n", "a", "😀", " "]


def pieces(*among: str) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(among), max_size=24).map("".join)


@given(pieces(*PIECES) | st.text(max_size=24))
def test_what_is_not_closed_changes_no_token(text: str) -> None:
    expected = [(one.lastgroup, one[0], one.start()) for one in AFRESH.finditer(text) if one.lastgroup != "blank"]
    assert [(token.kind, token.text, token.start) for token in tokens(text)] == expected


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("'a' 'b\n'c'", ["'a'", "'", "b", "'c'"]),
        (r"'a\' b' c", [r"'a\' b'", "c"]),
        (r"'a\\' b'", [r"'a\\'", "b", "'"]),
        ("@'a''b' x", ["@'a''b'", "x"]),
        ("h'a' h@\"b\" H```c\r\nd```", ["h'a'", 'h@"b"', "H```c\r\nd```"]),
        ("'a\u2028b' // c'\nd", ["'a\u2028b'", "d"]),
        ("``` ~~~x~~~ 'y'", ["`", "`", "`", "~~~x~~~", "'y'"]),
    ],
)
def test_literals_end_where_kusto_ends_them(text: str, found: list[str]) -> None:
    assert [token.text for token in tokens(text)] == found


class Counted:
    """What closes a literal, counting the characters that are looked at for it."""

    def __init__(self, closed: re.Pattern[str], *, beyond_lines: bool) -> None:
        self.closed, self.beyond_lines, self.seen = closed, beyond_lines, 0

    def match(self, text: str, start: int) -> re.Match[str] | None:
        found = self.closed.match(text, start)
        line = len(text) if self.beyond_lines else start + len(re.split(r"[\r\n]", text[start:], maxsplit=1)[0])
        self.seen += (found.end() if found else line) - start
        return found


@pytest.mark.parametrize(
    "piece",
    ["\\'", "'", '"', '\\"', "@'", "@'\\\"", "h'", "h\\'", "```", "` ``` ~~~", "~~~", "'\\'\n", "@'' ", "'\\\"@", 'h@"\\\'~~~'],
)  # fmt: skip
def test_no_character_is_looked_at_for_each_quote_before_it(piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {quote: Counted(rest, beyond_lines=len(quote) > 2) for quote, rest in tokenizer._CLOSED.items()}
    monkeypatch.setattr(tokenizer, "_CLOSED", kinds)
    text = piece * 500
    assert list(tokens(text))
    # Once as what is read, and once more for each kind of literal that is not closed.
    assert sum(kind.seen for kind in kinds.values()) <= len(text) * (1 + len(kinds))


@given(pieces(*ESCAPES))
def test_both_witnesses_read_the_same_value(body: str) -> None:
    written = f"'{body}'"
    [token] = tokens(written)
    value = literal_value(written)
    found = literal(Mapped.whole(written), token)
    assert found.value == value
    assert len(found.starts) == len(found.ends) == len(value)
    assert "".join(written[start:end] for start, end in zip(found.starts, found.ends, strict=True)) == body
    try:
        assert lexer.next_token(written, 0).value == value
    except KustoError:  # half of a pair alone is no character
        assert any("\ud800" <= char <= "\udfff" for char in value)


@given(pieces(PAIR, "\\ud83d", "\\ude00", "\\u0041", "\\n", '\\"', "a", "\U0001f600"))
def test_a_json_string_has_the_value_that_json_gives_it(body: str) -> None:
    found = json_string(Mapped.whole(body))
    assert found.value == json.loads(f'"{body}"')
    assert len(found.starts) == len(found.ends) == len(found.value)


@pytest.mark.parametrize("name", [f"'{PAIR}'", r"'\ud83d' '\ude00'", "'😀'", r"'\U0001f600'"])
def test_a_database_is_one_scope_however_its_name_is_escaped(name: str) -> None:
    command = read(f".show database [{name}] policy managed_identity")
    assert command is not None
    assert command.scope == Scope.database("😀")


def test_properties_are_not_compared_with_each_other() -> None:
    compared = 0

    class Name(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

    items: list[tuple[str, Any]] = [(Name(f"p{place}"), place) for place in range(500)]
    assert jsontext._object(items) == dict(items)
    assert compared <= 2 * len(items)
