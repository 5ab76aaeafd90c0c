"""Tests that rows show their values by the kinds of their columns, whole and escaped, in HTML, Markdown and text."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from kqlmi.report import YES_NO, Rows, to_html, to_markdown, to_text
from kqlmi.report.report import Report

ID = "7b574bf6-2b96-580c-a411-e28963900e20"
COMMAND = ".alter-merge cluster policy managed_identity ```[{}]``` // <b>"
ROWS = Rows(
    ("usages", "allowed", "object_id", "commands", "note"),
    ((["All", "ExternalTable"], True, ID, [COMMAND, ".show version"], "<i>"), ([], None, "", [], "x" * 200)),
    kinds={"usages": {"All": "warning"}, "allowed": YES_NO, "object_id": "id", "commands": "code"},
    note="2 of 1,204 rows <b>",
)


def test_html_shows_usages_as_tags_and_states_by_a_sign_and_a_colour() -> None:
    shown = to_html(ROWS)
    assert '<span class="kqlmi-tag kqlmi-warn">▲ All</span> <span class="kqlmi-tag">ExternalTable</span>' in shown
    assert '<span class="kqlmi-tag kqlmi-good">✓ yes</span>' in shown
    assert '<span class="kqlmi-tag kqlmi-open">?</span>' in shown
    assert "✗ no" in to_html(Rows(("a",), ((False,),), kinds={"a": YES_NO}))


def test_html_contains_an_identifier_and_a_command_whole() -> None:
    shown = to_html(ROWS)
    assert f'<span title="{ID}">{ID}</span>' in shown
    [code] = re.findall("<code>(.+?)</code>", shown.replace("<code></code>", ""), re.DOTALL)
    assert code.replace("<wbr>", "") == f"{COMMAND}\n.show version".replace("<b>", "&lt;b&gt;")


def test_html_escapes_each_kind_of_cell_and_the_note() -> None:
    hostile = Rows(ROWS.columns, (("<b>",) * 5,), kinds=ROWS.kinds, note="<b>")
    shown = to_html(hostile)
    assert "<b>" not in shown
    assert shown.count("&lt;b&gt;") == 7  # the identifier is in its tooltip too


def test_html_folds_the_texts_of_a_column_that_is_declared_so() -> None:
    rows = Rows(
        ("evidence",),
        ((["a <b>", "c d" * 20],), (["a <b>", "c d"],), ("whole text of more than a few words",), ([],)),
        kinds={"evidence": "folded"},
    )
    shown = to_html(rows)
    assert "<details><summary>2 items</summary>a &lt;b&gt;\nc dc d" in shown
    assert "<td>a &lt;b&gt;\nc d</td>" in shown
    assert "<summary>whole text of more t…</summary>whole text of more than a few words</details>" in shown
    assert shown.count("<details>") == 2
    assert "c d" in to_text(rows)


def test_html_breaks_only_words_too_long_for_their_column() -> None:
    assert f'<td class="kqlmi-long">{"x" * 200}</td>' in to_html(ROWS)
    assert "<td>&lt;i&gt;</td>" in to_html(ROWS)
    assert "<td>wordwordword</td>" in to_html(Rows(("a",), (("wordwordword",),)))
    assert (
        "kqlmi-long"
        in to_html(Rows(tuple("abcdefghijkl"), (("wordwordword", *"bcdefghijkl"),))).partition("</style>")[2]
    )


def test_markdown_and_text_show_the_signs() -> None:
    assert "| ▲ All, ExternalTable | ✓ yes |" in to_markdown(Report("", blocks=(ROWS,)))
    text = to_text(ROWS, width=400)
    assert "▲ All, ExternalTable  ✓ yes" in text
    assert text.endswith("\n\n2 of 1,204 rows <b>")


@pytest.mark.parametrize("width", [20, 80, 120, 200])
def test_text_shows_every_value_whole_at_any_width(width: int) -> None:
    columns = ("scope", "display_name", "object_id", "client_id", "usages", "reason")
    values = ("database Samples", "mi-adx-ingest", ID, ID[::-1], ["NativeIngestion", "All"], "the policy grants All")
    rows = Rows(columns, (values, values))
    lines = to_text(rows, width=width).splitlines()
    assert max(map(len, lines)) <= max(width, 14 + 40)
    words = {word.strip(",") for line in lines for word in line.split()}
    assert {*" ".join(columns).split(), ID, ID[::-1], "NativeIngestion", "mi-adx-ingest"} <= words
    assert sum(ID in line for line in lines) == 2


@example([["", "", " aaaa"]], 10)
@given(
    st.lists(st.lists(st.text("ab 東", max_size=60), min_size=3, max_size=3), min_size=1, max_size=4),
    st.integers(10, 200),
)
def test_text_contains_every_word_of_every_cell_at_any_width(cells: list[list[str]], width: int) -> None:
    shown = to_text(Rows(("x", "y", "z"), tuple(map(tuple, cells))), width=width)
    words = sorted(word for row in cells for text in row for word in text.split() if cell_len(text) <= 40)
    found = shown.split()
    assert all(found.count(word) >= words.count(word) for word in words)


def test_text_shows_a_table_too_wide_for_the_terminal_with_a_line_for_each_value() -> None:
    rows = Rows(("object_id", "client_id", "usages", "note"), ((ID, ID, ["A"], ""), (ID, ID, [], "b")))
    assert (
        to_text(rows, width=80)
        == f"""\
object_id  {ID}
client_id  {ID}
usages     A

object_id  {ID}
client_id  {ID}
note       b"""
    )


def test_text_colours_the_signs_of_a_table_only_on_request() -> None:
    rows = Rows(("a", "b"), ((False, True),), kinds={"a": YES_NO, "b": YES_NO})
    assert "\x1b[31m✗ no\x1b[0m" in to_text(rows, color=True)
    assert "\x1b[32m✓ yes\x1b[0m" in to_text(rows, color=True)
    assert "\x1b" not in to_text(rows)
