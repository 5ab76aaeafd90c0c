"""Tests that tokens and literals are those of Kusto's own lexer, and that reading is linear in the text's length."""

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
from kqlmi.model.kql.source_map import Mapped, json_string, literal, literal_value
from kqlmi.model.kql.tokenizer import tokens
from kqlmi.model.statement import Statement

PIECES = [*"'\"@\\hH`~\n\r\u2028a0 |", "```", "~~~", "//", "''", '""', "\\'"]
PAIR = r"\ud83d\ude00"
ESCAPES = [r"\ud83d", r"\ude00", PAIR, r"\u0041", r"\x41", r"\101", r"\U0001f600", r"\\", r"\'", r"\n", "a", "😀", " "]


def pieces(*among: str) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(among), max_size=24).map("".join)


def by_hand(text: str, start: int) -> tuple[str, int] | None:
    """Return the kind and end of the literal that begins at a place, as TokenParser.cs scans it, or None."""
    place = start + (text[start] in "hH")
    if text[place : place + 3] in {"```", "~~~"}:
        end = text.find(text[place : place + 3], place + 3)
        return ("literal", end + 3) if end >= 0 else ("unclosed", len(text))
    verbatim = text[place : place + 1] == "@"
    place += verbatim
    quote = text[place : place + 1]
    if quote not in {"'", '"'}:
        return None
    place += 1
    while place < len(text) and text[place] not in "\r\n":
        pair = text[place : place + 2]
        if (pair == 2 * quote) if verbatim else (pair[0] == "\\" and pair[1:] not in {"", "\r", "\n"}):
            place += 2
        elif text[place] == quote:
            return "literal", place + 1
        else:
            place += 1
    return "unclosed", place


@given(pieces(*PIECES) | st.text(max_size=24))
def test_literals_match_a_hand_written_scanner(text: str) -> None:
    """Reading is linear because an unclosed literal reaches to the end of what was scanned."""
    end = 0
    for token in tokens(text):
        between = text[end : token.start]
        assert not between or re.fullmatch(rf"(?:[{tokenizer.BLANKS}]|//[^\r\n\u2028\u2029]*)*", between)
        expected = by_hand(text, token.start)
        assert (token.kind, token.end) == (expected or (token.kind, token.end))
        assert bool(expected) == (token.kind in {"literal", "unclosed"})
        assert text[token.start : token.end] == token.text
        end = token.end


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("'a' 'b c\n'c'", ["'a'", "'b c", "'c'"]),
        (r"'a\' b' c", [r"'a\' b'", "c"]),
        (r"'a\\' b'", [r"'a\\'", "b", "'"]),
        ("@'a''b' x", ["@'a''b'", "x"]),
        ("h'a' h@\"b\" H```c\r\nd```", ["h'a'", 'h@"b"', "H```c\r\nd```"]),
        ("'a\u2028b' // c'\nd", ["'a\u2028b'", "d"]),
        ("'a' ``` ~~~x~~~\n'y'", ["'a'", "``` ~~~x~~~\n'y'"]),
        ("@'a''", ["@'a''"]),
        ("h'a // b\n.show", ["h'a // b", ".", "show"]),
        (".set T <| print 1 <2", [".", "set", "T", "<|", "print", "1", "<", "2"]),
    ],
)
def test_literals_end_where_kusto_ends_them(text: str, found: list[str]) -> None:
    assert [token.text for token in tokens(text)] == found


@given(pieces(*ESCAPES))
def test_both_lexers_read_the_same_value(body: str) -> None:
    written = f"'{body}'"
    [token] = tokens(written)
    value = literal_value(written)
    found = literal(Mapped.whole(written), token)
    assert found.value == value
    assert len(found.starts) == len(found.ends) == len(value)
    assert "".join(written[start:end] for start, end in zip(found.starts, found.ends, strict=True)) == body
    try:
        assert lexer.next_token(written, 0).value == value
    except KustoError:  # half of a surrogate pair alone is not a character
        assert any("\ud800" <= char <= "\udfff" for char in value)


@given(pieces(PAIR, "\\ud83d", "\\ude00", "\\u0041", "\\n", '\\"', "a", "\U0001f600"))
def test_a_json_string_has_its_json_value(body: str) -> None:
    found = json_string(Mapped.whole(body))
    assert found.value == json.loads(f'"{body}"')
    assert len(found.starts) == len(found.ends) == len(found.value)


@pytest.mark.parametrize("name", [f"'{PAIR}'", r"'\ud83d' '\ude00'", "'😀'", r"'\U0001f600'"])
def test_a_database_is_one_scope_however_its_name_is_escaped(name: str) -> None:
    command = Statement(f".show database [{name}] policy managed_identity").policy_command
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
