"""Tests that a terminal shows reports in its width and in colour, that the user can decline colours, and that pipes stay plain."""

import io

import pytest

from kqlmi.report import YES_NO, Line, Report, Rows, Section, to_text
from kqlmi.terminal import to_terminal

ROWS = Rows(("allowed", "reason"), ((True, "granted " * 12), (False, "nothing")), kinds={"allowed": YES_NO})
REPORT = Report("Title", blocks=(Line("granted", "+"), Section("rows", (ROWS,))))
REST = "To see the rest: less"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_a_terminal_shows_tables_in_its_width_and_in_colour(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    shown = to_terminal(REPORT, Terminal())
    assert shown == to_text(REPORT, width=width, color=True)
    assert "\x1b[32m✓ yes\x1b[0m" in shown
    assert "\x1b[32m+ granted\x1b[0m" in shown
    assert shown.count("granted ") + shown.count("granted\n") >= 12


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_are_left_out_if_the_user_or_the_terminal_does_not_want_them(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    for one in (REPORT, ROWS):
        assert "\x1b" not in to_terminal(one, Terminal(), rest=REST)
    assert "✓ yes" in to_terminal(REPORT, Terminal())


@pytest.mark.parametrize("count", [3, 60, 300, 1000])
def test_a_long_table_is_folded_on_a_terminal_and_whole_in_a_pipe(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    rows = Rows(("number",), tuple((number,) for number in range(count)))
    nested = Report("Title", blocks=(Section("within", (rows,)),))
    for one in (rows, nested):
        shown = to_terminal(one, Terminal(), rest=REST)
        assert (f"20 of {count:,} rows. {REST}" in shown) == (count > 60)
        assert len(shown.splitlines()) < 70
        assert to_terminal(one, io.StringIO(), rest=REST) == to_text(one)
        assert str(count - 1) in to_terminal(one, Terminal())


def test_a_pipe_has_the_fixed_width_and_no_colour_whatever_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert to_terminal(REPORT, io.StringIO()) == to_text(REPORT)
