"""Tests that each cell that the view draws matches the draft."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kqlmi.model.entities import Scope
from kqlmi.model.plan.draft import Draft
from kqlmi.model.policy.access import access
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.notebook.panel import matrix, words
from tests.model.policy.test_policy import IDENTITIES, KNOWN, POLICIES

CLUSTER = Scope.cluster()
DATABASES = [Scope.database(name) for name in "ABC"]
MAYBE = st.none() | POLICIES


def states_of(cells: matrix.Cells, row: str) -> list[dict[str, Any]]:
    """Return the states of a row, as the page reads them."""
    return [cells.legend[ord(place) - ord("0")] for place in row]


@given(MAYBE, MAYBE, st.lists(st.tuples(IDENTITIES, KNOWN), max_size=4), st.sampled_from([CLUSTER, DATABASES[0]]))
def test_each_drawn_cell_matches_the_draft(
    cluster: Policy | None, database: Policy | None, ticks: list[tuple[str, str]], scope: Scope
) -> None:
    draft = Draft.start(Snapshot({CLUSTER: cluster, DATABASES[0]: database}), scope)
    for identity, usage in ticks:
        draft = draft.tick(identity, usage)
    cells = matrix.ScopeCells(scope)
    listed = matrix.identities(draft.read, [identity for _, identity, _ in draft.ticks])
    rows, edited = matrix.rows(cells, draft, listed), matrix.edited(cells, draft)
    for (identity, _, _), read in zip(listed, rows, strict=True):
        states = states_of(cells, edited.get(identity, read))
        for usage, state in zip(draft.usages, states, strict=True):
            cell = draft.cell(identity, usage)
            assert (state["granted"], state["allowed"], state["changed"]) == (cell.granted, cell.allowed, cell.changed)
            assert state["text"] == cell.state(scope)
            assert (state["mark"] in "✓◈∅+") == bool(cell.granted or not state["mark"])
            assert (state["mark"] in {"+", "−"}) == cell.changed  # noqa: RUF001 # a minus sign
            assert (state["mark"] in {"◆", "◈"}) == (bool(cell.covered_by) and not cell.changed)


@given(MAYBE, st.tuples(MAYBE, MAYBE, MAYBE))
def test_the_effective_view_counts_what_access_allows(cluster: Policy | None, held: tuple[Policy | None, ...]) -> None:
    snapshot = Snapshot({CLUSTER: cluster, **dict(zip(DATABASES, held, strict=True))})
    draft = Draft.start(snapshot, CLUSTER)
    cells = matrix.EffectiveCells(snapshot)
    for identity, _, _ in matrix.identities(snapshot):
        for usage, state in zip(draft.usages, states_of(cells, cells.row(draft, identity, draft.usages)), strict=True):
            allowed = [bool(access(snapshot, identity, usage, scope).allowed) for scope in DATABASES]
            everywhere = bool(access(snapshot, identity, usage, CLUSTER).allowed)
            expected = "everywhere" if everywhere else f"in {sum(allowed)} of 3 databases" if any(allowed) else ""
            assert state["text"] == expected
            assert bool(matrix.where(snapshot, identity, usage)) == bool(expected)


@given(st.text())
def test_the_pieces_of_a_command_are_the_command(text: str) -> None:
    assert "".join(piece for _, piece in words.pieces(text)) == text


def test_a_command_is_cut_into_words_and_literals() -> None:
    assert words.pieces(".alter database ['A b'] policy x ```[]``` // end") == [
        ["", "."],
        ["word", "alter"],
        ["word", " database"],
        ["", " ["],
        ["literal", "'A b'"],
        ["", "]"],
        ["word", " policy"],
        ["word", " x"],
        ["literal", " ```[]```"],
        ["", " // end"],
    ]


def test_a_column_that_only_a_tick_holds_moves_no_other() -> None:
    one = Policy.parse('[{"ObjectId":"system","AllowedUsages":"Future, Zeta"}]')
    left = Policy.parse('[{"ObjectId":"system","AllowedUsages":"Zeta"}]')
    other = "11111111-2222-3333-4444-555555555555"
    read = Draft.start(Snapshot({DATABASES[0]: one}), DATABASES[0])
    draft = read.tick(other, "Future").rebase(Snapshot({DATABASES[0]: left}))
    assert draft.usages[-2:] == ("Future", "Zeta")
    cells = matrix.ScopeCells(DATABASES[0])
    [row] = matrix.rows(cells, draft, matrix.identities(draft.read))
    granted = [state["granted"] for state in states_of(cells, row)]
    assert granted[-2:] == [False, True]
    assert len(granted) == len(draft.usages)
