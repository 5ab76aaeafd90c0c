"""Tests that a report is shown completely as text, HTML and Markdown, and that its texts are escaped."""

import os
import sys
import unicodedata
from dataclasses import dataclass
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from kqlmi.report import (
    Code,
    Described,
    Kind,
    Line,
    Names,
    Report,
    Rows,
    Section,
    shortens,
    to_html,
    to_markdown,
    to_text,
)
from kqlmi.report.report import cell

HOSTILE = [
    "\x1b[31mred\x1b]0;title\x07",
    "\u202eevil\u2066\u200f",
    "a\r\nb\u2028c\td",
    "``` ```` `a` ``",
    "<script>alert(1)</script><img src=x onerror=y> &lt; </details></summary></td><!-- -->",
    "[red]bold[/red] [link=https://a.b]c[/link]",
    ":smile: :red_circle:",
    "[a](https://a.b) ![a](https://a.b) https://a.b www.a.b <https://a.b> a@b.com @octocat #1 o/r#2",
    "| a | b |",
    "# 1. - + * > === *a* __b__ ~~c~~ $x$ \\",
    "\ud800 é 東京",
]
ID = "7b574bf6-2b96-580c-a411-e28963900e20"


def everywhere(text: str) -> Report:
    """Return a report with the text in every place."""
    marks = (Line(text), Line(text, "+"), Line(text, "done"), Line(text, "warning"), Line(text, "stops"))
    rows = Rows((text, "b"), ((text, [text]), (text, [text, "x y"])))
    kinds: dict[str, Kind] = {"tag": {text: "warning", cell(text): "warning"}, "id": "id", "code": "code"}
    rows_of_kinds = Rows(("tag", "id", "code", "none"), (([text, "x"], text, text, None),), kinds=kinds, note=text)
    names = (Names(text, (text, "b")), Names(text, (text, *("b" * 40))))
    blocks = (
        *marks,
        *names,
        Code(text),
        rows,
        rows_of_kinds,
        Section(text, (*marks, Code(text), Section(text, (rows,), folded=True))),
    )
    return Report(text, text, blocks, (text,))


WHOLE = Report(
    "Title",
    "verdict.",
    (
        Line("plain"),
        Code("indented"),
        Section("open", (Line("granted", "+"), Line("revoked", "-"), Code(".alter x ```\n  y```"))),
        Section("folded", (Line("inside", "not checked"), Code("below")), folded=True),
    ),
    ("note 1", "note 2"),
)


def test_text_shows_a_report_in_order_and_folds_closed_or_open() -> None:
    shown = """\
Title: verdict.
plain
    indented

open:
  + granted
  - revoked

.alter x ```
  y```
folded

note 1
note 2"""
    assert to_text(WHOLE) == shown
    assert to_text(WHOLE, unfold=True) == shown.replace("folded", "folded\n  [?] inside\n      below")
    assert to_text(Report("", blocks=(Section("", (Line("a"),)),))) == "  a"


def test_a_table_in_text_breaks_no_object_id_and_keeps_to_the_width_otherwise() -> None:
    rows = Rows(("name", "object_id", "allowed", "usages"), (("word " * 40, ID, True, ["A", "B"]), ("b", ID, None, [])))
    for width in (20, 80, 200):
        lines = to_text(rows, width=width).splitlines()
        assert sum(ID in line for line in lines) == 2
        assert max(map(len, lines)) <= max(width, 80)
    assert lines[2].split()[-3:] == ["yes", "A,", "B"]


def test_text_has_colour_only_if_requested_whatever_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows(("a", "b"), (("東京", ["c d", "e"]),))
    before = to_text(WHOLE), to_text(rows)
    monkeypatch.setenv("COLUMNS", "10")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", open(os.devnull, "w", encoding="ascii"))  # noqa: PTH123, SIM115
    assert (to_text(WHOLE), to_text(rows)) == before
    assert "\x1b" not in "".join(before)
    assert "\x1b[32m  + granted\x1b[0m" in to_text(WHOLE, color=True)
    sys.stdout.close()


@given(st.sampled_from(HOSTILE) | st.text())
def test_text_escapes_control_characters(text: str) -> None:
    shown = to_text(everywhere(text), unfold=True)
    assert {char for char in shown if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}} <= {"\n", "\t"}


@pytest.mark.parametrize("text", ["[red]bold[/red]", ":smile:", "<b>", "`a`", "東京"])
def test_text_shows_harmless_characters_unchanged(text: str) -> None:
    report = everywhere(text)
    assert to_text(report, unfold=True).count(text) == 35


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "wbr":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)


@given(st.sampled_from(HOSTILE) | st.text())
def test_html_contains_a_text_as_text_only(text: str) -> None:
    page = Page()
    page.feed(to_html(everywhere(text)))
    page.close()
    blocks = {"div", "b", "pre", "code", "details", "summary"}
    assert page.tags <= blocks | {"table", "thead", "tbody", "tr", "th", "td", "style", "span", "wbr"}
    assert page.attributes <= {"class", "style", "scope", "title"}
    assert page.open == []
    assert cell(text).strip() in "".join(page.texts)


def test_html_folds_collapsed_parts() -> None:
    assert "<details><summary>folded</summary><div>[?] inside</div>" in to_html(WHOLE)
    assert to_html(WHOLE).count("<details") == 1


@given(st.sampled_from(HOSTILE) | st.text().filter(str.strip))
def test_markdown_contains_a_text_as_text_only(text: str) -> None:
    tokens = MarkdownIt("commonmark").enable("table").enable("strikethrough").parse(to_markdown(everywhere(text)))
    inline = [child for token in tokens for child in token.children or ()]
    assert {child.type for child in inline} <= {"text", "code_inline", "html_inline", "strong_open", "strong_close"}
    assert {child.content for child in inline if child.type == "html_inline"} <= {"<br>", "<!-- -->"}
    blocks = {token.content.partition(">")[0] for token in tokens if token.type == "html_block"}
    assert blocks <= {"<details", "</details"}
    assert {token.tag for token in tokens if token.type == "heading_open"} == {"h3"}
    assert sum(token.type == "fence" for token in tokens) == 2
    assert sum(token.type == "table_open" for token in tokens) == 3
    # A short list of names is one of the lines, and a folded one is apart.
    assert sum(token.type == "bullet_list_open" for token in tokens) in {3, 4}


@pytest.mark.parametrize("text", ["@octocat", "a@b.com", "o/r#2", ":smile:", "https://a.b", "www.a.b"])
def test_markdown_contains_nothing_that_github_reads_as_a_name_a_link_or_an_emoji(text: str) -> None:
    [token] = [token for token in MarkdownIt().parse(to_markdown(Report("", text))) if token.type == "inline"]
    pieces = [child.content for child in token.children or () if child.type == "text"]
    assert "".join(pieces) == text
    assert len(pieces) > 1 or text == "www.a.b"
    assert "www." not in to_markdown(Report("", text))


def test_markdown_keeps_a_command_in_a_fence_and_folds_collapsed_parts() -> None:
    shown = to_markdown(WHOLE)
    assert "### Title\n\nverdict\\.\n\n- plain\n\n" in shown
    assert "**open**\n\n- `+ granted`\n- `- revoked`\n\n````kql\n.alter x ```\n  y```\n````\n\n" in shown
    assert "<details><summary>folded</summary>\n\n- \\[?\\] inside\n\n````kql\nbelow\n````\n\n</details>" in shown
    assert shown.endswith("\n\nnote 1\n\nnote 2\n")


@pytest.mark.parametrize("count", [3, 300, 1000])
def test_every_name_of_a_list_is_in_html_and_markdown_and_a_long_list_is_folded(count: int) -> None:
    names = Names("in", tuple(f"Db{number:04}" for number in range(count)))
    report = Report("", blocks=(names,))
    for shown, fold in ((to_html(report), "<details>"), (to_markdown(report), "<details>")):
        assert ", ".join(names.names) in shown
        assert (fold in shown) == (count > 3)
    if count > 3:
        assert f"<summary>in Db0000 … Db{count - 1:04}: all {count:,} names</summary>" in to_html(report)


@given(st.lists(st.sampled_from([*HOSTILE, "Samples", "Field Reports"]), min_size=1), st.integers(0, 2000))
def test_text_shortens_a_list_of_names_only_beyond_the_limit_and_reports_it(texts: list[str], at_most: int) -> None:
    report = Report("", blocks=(Section("s", (Names("in", tuple(texts)),)),))
    whole, short = to_text(report), to_text(report, at_most=at_most)
    assert (short != whole) <= shortens(report, at_most)
    assert shortens(report, at_most) == (len(whole.removeprefix("s:\n  in ")) > at_most)


def test_one_name_is_not_mistaken_for_several() -> None:
    assert (
        to_text(Report("", blocks=(Names("in", ("A, B", "C", "D … Z", "it's")),)))
        == """in 'A, B', C, 'D … Z', "it's\""""
    )


@dataclass(frozen=True, slots=True)
class Value(Described):
    name: str

    def report(self) -> Report:
        return Report(self.name)


def test_a_value_is_shown_everywhere_by_its_report() -> None:
    value = Value("<a>")
    assert str(value) == "<a>"
    assert "<b>&lt;a&gt;</b>" in value._repr_html_()
    assert value._repr_markdown_() == "### \\<a\\>\n"
    assert repr(value).startswith("Value(")
    assert not hasattr(value, "__dict__")
