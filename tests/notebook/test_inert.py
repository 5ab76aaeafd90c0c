"""Tests that text from a cluster has no effect on a terminal or page that shows it, and is not altered otherwise."""

from typing import Any

import pandas as pd
import pytest

from tests.notebook.conftest import Notebook

ACTIVE = "\x1b]0;title\x07\x1b[31m\u202eevil\u2066\x9b1m\u2028\r\n\t"
HARMLESS = "é 東京\u3000 \u200d\U0001f469 no\xa0break"
QUERY = "%%kqlmi\nprint x = '" + "".join(f"\\u{ord(char):04x}" for char in ACTIVE) + "'"


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return pd.DataFrame({"name": [ACTIVE, HARMLESS], ACTIVE: [1, 2]}, index=["a", ACTIVE])


def shown(notebook: Notebook, value: object) -> dict[str, str]:
    formatter: Any = notebook.shell.display_formatter
    found: dict[str, str] = formatter.format(value)[0]
    return found


def active(text: str) -> set[str]:
    return set(text) & set(ACTIVE) - set("evil\n ;titl[]031m")


def test_text_from_a_cluster_is_inert_in_a_cell(connected: Notebook) -> None:
    found = connected.run(QUERY)
    assert type(found) is pd.DataFrame
    assert found.x[0] == ACTIVE
    assert not active(shown(connected, found)["text/plain"])
    assert r"\u001b[31m\u202eevil" in shown(connected, found)["text/plain"]


def test_everything_derived_from_a_frame_is_inert_too(notebook: Notebook, frame: pd.DataFrame) -> None:
    for value in (frame, frame.head(1), frame.name, frame.T, frame.groupby("name").sum(), frame.rename_axis(ACTIVE)):
        found = shown(notebook, value)
        assert not active("".join(found.values())), value
        assert ("text/html" in found) == isinstance(value, pd.DataFrame)
    assert HARMLESS in shown(notebook, frame)["text/html"]
    assert HARMLESS in shown(notebook, frame.name)["text/plain"]


def test_a_frame_without_such_text_is_shown_as_pandas_does(notebook: Notebook) -> None:
    plain = pd.DataFrame({"a": ["x", None], "b": [1.5, 2.5]})
    assert shown(notebook, plain) == {"text/plain": repr(plain), "text/html": plain._repr_html_()}  # type: ignore[operator]
    with pd.option_context("display.notebook_repr_html", False):  # noqa: FBT003 - pandas' own
        assert shown(notebook, plain) == {"text/plain": repr(plain)}


def test_the_extension_leaves_frames_to_pandas_when_it_is_unloaded(notebook: Notebook, frame: pd.DataFrame) -> None:
    notebook.shell.run_line_magic("unload_ext", "kqlmi")
    assert active(shown(notebook, frame)["text/plain"])
    notebook.shell.run_line_magic("load_ext", "kqlmi")
    assert not active(shown(notebook, frame)["text/plain"])


def test_a_formatter_that_the_user_registered_is_kept(notebook: Notebook, frame: pd.DataFrame) -> None:
    formatter: Any = notebook.shell.display_formatter
    formatter.formatters["text/html"].for_type(pd.DataFrame, lambda _frame: "mine")
    for magic in ("reload_ext", "unload_ext", "load_ext"):
        notebook.shell.run_line_magic(magic, "kqlmi")
        assert shown(notebook, frame)["text/html"] == "mine"
