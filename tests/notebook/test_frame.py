"""Tests that a frame of kqlmi's own rows displays itself, and is otherwise an ordinary DataFrame."""

import copy
import pickle
import re
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from kqlmi.notebook.frame import Frame
from kqlmi.report import YES_NO, Kind, Rows
from tests.notebook.conftest import Notebook
from tests.notebook.test_inert import ACTIVE, active, shown

LONG = "the policy of the cluster grants All, which covers ExternalTable; " * 3 + "end"
ROWS = Rows(
    ("name", "usages", "allowed", "reason"),
    (("a", ["A", "B"], True, LONG), ("b", [], None, "<b>&</b>"), ("a", ["C"], False, ACTIVE)),
    {"allowed": "boolean"},
)


KINDS: dict[str, Kind] = {"usages": {"A": "warning"}, "allowed": YES_NO}


@pytest.fixture
def frame() -> Frame:
    return Frame.of(ROWS)


def test_rows_become_a_frame_with_their_dtypes(frame: Frame) -> None:
    assert list(frame.columns) == list(ROWS.columns)
    assert frame.to_numpy().tolist()[0] == ["a", ["A", "B"], True, LONG]
    assert str(frame.allowed.dtype) == "boolean"
    assert frame.allowed.isna().tolist() == [False, True, False]
    empty = Frame.of(Rows(("a", "b"), (), {"b": "bool"}))
    assert (list(empty.columns), len(empty), str(empty.b.dtype)) == (["a", "b"], 0, "bool")


def test_a_page_shows_the_cells_whole_and_everything_escaped(frame: Frame) -> None:
    found = frame._repr_html_()
    assert found is not None
    assert LONG in found
    assert "&lt;b&gt;&amp;&lt;/b&gt;" in found
    assert active(found) <= {"\t"}
    assert r"\u001b[31m\u202eevil" in found
    assert not active(repr(frame))
    assert repr(frame).splitlines()[0].split() == ["name", "usages", "allowed", "reason"]
    assert repr(Frame.of(Rows(("a",), ()))) == "a\n─\n\nNo rows."


def test_a_page_shows_the_current_columns_of_the_frame(frame: Frame) -> None:
    frame["more"] = ["x<", "y", "z"]
    del frame["usages"]
    frame.loc[1, "reason"] = "changed"
    found = frame._repr_html_() or ""
    assert '<th scope="col">more</th>' in found
    assert "x&lt;" in found
    assert "changed" in found
    assert "usages" not in found


def test_the_options_of_the_user_are_honoured(frame: Frame) -> None:
    with pd.option_context("display.max_colwidth", 20):
        assert LONG not in (frame._repr_html_() or "")
    with pd.option_context("display.notebook_repr_html", False):  # noqa: FBT003 - pandas' own
        assert frame._repr_html_() is None
    with pd.option_context("display.max_rows", 2):
        assert "2 of 3 rows" in (frame._repr_html_() or "")
    assert pd.get_option("display.max_colwidth") == 50


@pytest.mark.parametrize("count", [3, 60, 300, 1000])
def test_a_long_frame_shows_its_first_rows_and_their_count(count: int) -> None:
    frame = Frame.of(Rows(("number",), tuple((number,) for number in range(count))))
    rows = (frame._repr_html_() or "").count("<tr>") - 1
    note = f"20 of {count:,} rows. The DataFrame has all of them; to show them: pd.options.display.max_rows = None"
    for text in (frame._repr_html_() or "", repr(frame)):
        assert (note in text) == (count > 60)
    assert rows == (20 if count > 60 else count)
    assert len(repr(frame).splitlines()) == (24 if count > 60 else count + 2)
    with pd.option_context("display.max_rows", None):
        assert (frame._repr_html_() or "").count("<tr>") - 1 == count
    assert len(frame) == count


def test_a_cell_is_whole_up_to_2000_characters_and_then_states_how_many_are_left() -> None:
    frame = Frame.of(Rows(("a",), (("x" * 2000,), ("y" * 3234,), (["z" * 1500, "z" * 1500],))))
    found = (frame._repr_html_() or "").replace("<wbr>", "")
    assert "x" * 2000 + "</td>" in found
    assert "y" * 2000 + "… 1,234 more characters" in found
    assert "… 1,002 more characters" in found
    with pd.option_context("display.max_colwidth", None):
        assert "y" * 3234 in (frame._repr_html_() or "")


def test_the_kinds_of_the_columns_are_kept_while_the_frame_changes_in_place() -> None:
    frame = Frame.of(Rows(("usages", "allowed"), ((["A"], True), (["B"], None)), {"allowed": "boolean"}, KINDS))
    frame.index = pd.Index(["x", "y"])
    frame["allowed"] = frame["allowed"][::-1].to_numpy()
    frame["more"] = [1.5, None]
    found = frame._repr_html_() or ""
    assert re.findall(r'<span class="kqlmi-tag[^>]*>([^<]*)', found) == ["▲ A", "?", "B", "✓ yes"]
    assert "<td>1.5</td>" in found
    assert "<td>nan</td>" not in found.lower()
    assert "<td>x</td>" in found
    assert re.search(r"^x +▲ A +\? +1.5$", repr(frame), re.MULTILINE)


MADE: list[Callable[[Frame], Any]] = [
    lambda frame: frame[["name", "reason"]],
    lambda frame: frame[frame.name == "a"],
    lambda frame: frame.head(2),
    lambda frame: frame.iloc[0:1],
    lambda frame: frame.copy(),
    copy.copy,
    copy.deepcopy,
    lambda frame: pickle.loads(pickle.dumps(frame)),  # noqa: S301 - its own
    lambda frame: pickle.loads(pickle.dumps(frame, protocol=0)),  # noqa: S301 - its own
    lambda frame: pd.concat([frame, frame]),
    lambda frame: frame.merge(frame, on="reason"),
    lambda frame: frame.astype({"name": "category"}),
    lambda frame: frame.explode("usages"),
    lambda frame: frame.assign(more=1),
    lambda frame: frame.T,
    lambda frame: frame.groupby("name").count(),
]


@pytest.mark.parametrize("make", MADE)
def test_a_frame_derived_from_it_is_plain_and_has_the_same_content(frame: Frame, make: Callable[[Any], Any]) -> None:
    made = make(frame)
    assert type(made) is pd.DataFrame
    pd.testing.assert_frame_equal(made, make(pd.DataFrame(frame)))


def test_pickled_it_needs_no_kqlmi_to_be_read(frame: Frame) -> None:
    assert b"kqlmi" not in pickle.dumps(frame)
    assert frame.attrs == {}


def test_it_is_written_and_counted_like_any_frame(frame: Frame) -> None:
    plain = pd.DataFrame(frame)
    assert frame.to_csv() == plain.to_csv()
    assert frame.to_json() == plain.to_json()
    assert frame.to_dict("records") == plain.to_dict("records")
    assert [(key, len(part)) for key, part in frame.groupby("name")] == [("a", 2), ("b", 1)]
    assert frame.equals(plain)
    assert len(frame) == 3


def test_a_notebook_shows_it_and_leaves_the_result_of_a_query_to_pandas(connected: Notebook) -> None:
    found = connected.run("%kqlmi usages")
    assert type(found) is Frame
    assert shown(connected, found)["text/html"] == found._repr_html_()
    assert type(connected.run("%%kqlmi\nprint x = 1")) is pd.DataFrame
