"""Tests that a grid and a page are complete, escaped, accessible and self-contained."""

from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from kqlmi.errors import printable
from kqlmi.report import Grid, GridRow, Line, Report, Tile, to_html, to_markdown, to_page, to_text
from tests.report.test_report import HOSTILE

TAGS = {
    "div",
    "b",
    "style",
    "table",
    "caption",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "details",
    "summary",
    "small",
    "br",
    "wbr",
}
PAGE_TAGS = TAGS | {"html", "head", "meta", "title", "body", "main"}


def grid(text: str) -> Report:
    """Return a report on a grid with the text in every place."""
    tiles = (Tile(text, 0.5, "", (text, text)), Tile(text))
    return Report(text, text, (Grid(text, text, (text, text, "b"), (GridRow(text, text, (text,), tiles),)),))


class Parsed(HTMLParser):
    """The tags, attributes and texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_markup_on_a_page(text: str) -> None:
    found, plain = Parsed(to_page(text, [grid(text)], 1_000_000)), Parsed(to_page("a", [grid("a")], 1_000_000))
    assert set(found.tags) <= PAGE_TAGS
    assert [tag for tag in found.tags if tag != "wbr"] == [tag for tag in plain.tags if tag != "wbr"]
    assert found.attributes == plain.attributes
    assert printable(text) in found.texts


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_a_grid_becomes_markup_in_markdown(text: str) -> None:
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(to_markdown(grid(text)))
    kinds = {child.type for token in tokens for child in token.children or ()}
    assert kinds <= {"text", "softbreak", "text_special", "html_inline"}
    inline = {child.content for token in tokens for child in token.children or () if child.type == "html_inline"}
    assert inline <= {"<!-- -->", "<br>"}


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_a_grid_controls_a_terminal(text: str) -> None:
    assert all(char.isprintable() or char == "\n" for char in to_text(grid(text)))


def test_a_page_loads_and_runs_nothing_and_has_a_content_security_policy() -> None:
    page = to_page("title", [grid("a")], 1_000_000)
    assert "default-src 'none'" in page
    found = Parsed(page)
    assert not {"script", "a", "img", "link", "iframe"} & set(found.tags)
    assert not {name for name, _ in found.attributes if name.startswith("on") or name in {"src", "href"}}
    assert "url(" not in page


def test_a_grid_is_a_table_with_headers() -> None:
    found = Parsed(to_html(grid("a")))
    assert {("scope", "col"), ("scope", "row"), ("scope", "rowgroup")} <= set(found.attributes)
    assert "caption" in found.tags


def test_a_grid_is_whole_without_its_styles() -> None:
    tiles = (Tile("62 % ✱", 0.62, "", ("Allowed in 5 of 8: A", "Only B")), Tile("·"))
    report = Report(
        "t",
        blocks=(Grid("legend", "usage", ("identity", "NativeIngestion", "x"), (GridRow("g", "mi", ("id",), tiles),)),),
    )
    for text in (to_html(report), to_markdown(report), to_text(report)):
        plain = "".join(Parsed(text).texts) if text.startswith("<") else text.replace("\\", "")
        for part in ("legend", "NativeIngestion", "mi", "62 % ✱", "Allowed in 5 of 8: A", "Only B"):
            assert part in plain


def test_a_page_that_would_be_too_large_states_how_many_blocks_it_leaves_out() -> None:
    many = Report("many", blocks=tuple(Line(f"line {number}") for number in range(10_000)))
    page = to_page("t", [Report("first", blocks=(Line("kept"),)), many, Report("last", "whole.")], 50_000)
    assert len(page.encode()) <= 50_000 + 1_000
    kept = page.count("line ")
    assert 0 < kept < 10_000
    assert f"{10_000 - kept:,} more are left out" in page
    assert "kept" in page
    assert "whole." in page
