"""Tests of how errors show text from other systems."""

from codecs import decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqlmi.errors import InputError, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [("\ue0001", r"\ue0001"), ("\U000e0001", r"\U000e0001"), ("\x1b[31m", r"\u001b[31m"), ("é😀", "é😀")],
)
def test_invisible_characters_are_shown_as_escapes(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(exclude_characters="\\")))
def test_no_two_texts_are_shown_alike(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    back = decode(shown.encode("ascii", "backslashreplace"), "unicode_escape")
    assert back == text


def test_a_notebook_shows_the_hint_on_its_own_line() -> None:
    error = InputError("No\ndatabase", hint="Pass\n--database \x1b[1m", client_request_id="id", sent=True)
    assert error._render_traceback_() == ["InputError: No database. [id]", r"Pass --database \u001b[1m"]
    assert InputError("No database.")._render_traceback_() == ["InputError: No database."]
    assert str(error) == r"No database. [id] Pass --database \u001b[1m"
