"""Tests that a closed panel retains nothing: however many were opened in a kernel, their memory is freed."""

import gc
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ipywidgets
import pytest
from ipywidgets.widgets import widget

import kqlmi
from kqlmi.errors import InputError, KqlmiError
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.entities import Scope
from kqlmi.model.plan.draft import Draft
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.notebook.panel import matrix
from kqlmi.notebook.panel.panel import Panel
from kqlmi.notebook.panel.reader import Reader
from kqlmi.notebook.panel.requests import Requests
from kqlmi.session import Session
from tests.notebook.conftest import Notebook
from tests.notebook.kernel import connected_kernel, filled
from tests.notebook.panel.test_panel import ask

SAMPLES = Scope.database("Samples")
CONTENT = (Draft, Snapshot, Policy, Reader, Requests, matrix.ScopeCells, matrix.EffectiveCells, ipywidgets.Layout)


@pytest.fixture(scope="module")
def world() -> Iterator[LocalCluster]:
    with kqlmi.local.start(databases=["Samples", "Sales"], identities=["system"]) as started:
        yield started


@pytest.fixture
def session(world: LocalCluster) -> Iterator[Session]:
    with kqlmi.connect(world.url, token=world.token) as opened:
        yield opened


def alive(*classes: type) -> Counter[type]:
    gc.collect()
    return Counter(type(one) for one in gc.get_objects() if isinstance(one, classes))


def used(session: Session) -> Panel:
    """Return a panel that has done everything that a panel can do, including errors."""
    panel = Panel(session, SAMPLES)
    while panel.read_more():
        pass
    ask(panel, "choose", scope=-1)
    ask(panel, "choose", scope=1)
    ask(panel, "toggle", identity="system", usage="AzureAI")
    ask(panel, "preview")
    ask(panel, "execute", plan="another")
    ask(panel, "nonsense")
    ask(panel, "execute", plan=panel.preview["id"])
    ask(panel, "undo")
    ask(panel, "execute", plan=panel.preview["id"], confirmed=True)
    assert panel.status["kind"] == "done"
    return panel


def by_hand(panel: Panel) -> None:
    panel.close()


def by_the_browser(panel: Panel) -> None:
    panel.comm.handle_close({})


def with_all_widgets(_: Panel) -> None:
    ipywidgets.Widget.close_all()


@pytest.mark.parametrize("close", [by_hand, by_the_browser, with_all_widgets])
def test_a_closed_panel_releases_everything_even_if_it_is_referenced(
    session: Session, close: Callable[[Panel], None]
) -> None:
    used(session).close()
    before, registered = alive(*CONTENT), set(widget._instances)
    panel = used(session)
    panel.observe(lambda _: None)
    comms = [weakref.ref(panel.comm), weakref.ref(panel.layout.comm)]
    held = weakref.ref(panel)
    close(panel)
    assert not alive(*CONTENT) - before - Counter({ipywidgets.Layout: 1})
    assert [comm() for comm in comms] == [None, None]
    assert set(widget._instances) <= registered
    del panel
    gc.collect()
    assert held() is None
    assert not alive(*CONTENT) - before


def test_a_panel_that_could_not_be_opened_leaves_nothing(world: LocalCluster) -> None:
    token = world.token_for("viewer", database="Sales")
    with kqlmi.connect(world.url, token=token) as viewer:
        before = alive(Panel, *CONTENT), set(widget._instances)
        with pytest.raises(KqlmiError):
            Panel(viewer, SAMPLES)
        assert (alive(Panel, *CONTENT), set(widget._instances)) == before


@pytest.mark.parametrize(
    "use",
    [
        lambda panel: panel.draft,
        lambda panel: panel.plan,
        lambda panel: panel.names,
        lambda panel: panel.tick("system", "AzureAI"),
        lambda panel: panel.add("system"),
        lambda panel: panel.choose(None),
        lambda panel: panel.read_more(),
        lambda panel: panel.apply(),
        lambda panel: panel.execute("any"),
        lambda panel: panel.open(),
        lambda panel: setattr(panel, "scope", 1),
        lambda panel: setattr(panel, "draft", Draft(SAMPLES, Snapshot())),
    ],
)
def test_a_closed_panel_refuses_requests(session: Session, use: Callable[[Any], object]) -> None:
    panel = Panel(session, SAMPLES)
    assert repr(panel) == f"<kqlmi panel on {session.name}>"
    panel.close()
    panel.close()
    assert repr(panel) == "<closed kqlmi panel>"
    assert not any(getattr(panel, name) for name in ("identities", "cells", "scopes", "cluster"))
    with pytest.raises(InputError, match=r"The panel is closed\. Run %kqlmi panel to open another\."):
        use(panel)


def test_closing_waits_for_the_running_request_and_drops_the_queued_ones(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel, runs, may_end = Panel(session, SAMPLES), threading.Event(), threading.Event()
    read, seen, on_request = session.read, [], panel._requests._on_request

    def slow(*args: Any, **options: Any) -> Any:
        runs.set()
        assert may_end.wait(30)
        seen.append(panel.closed)
        return read(*args, **options)

    monkeypatch.setattr(session, "read", slow)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(ask, panel, "choose", scope=0)
        assert runs.wait(30)
        closing = pool.submit(panel.close)
        behind = pool.submit(setattr, panel, "request", {"id": "later", "action": "choose", "scope": 1})
        may_end.set()
        for one in (first, closing, behind):
            one.exception(30)
    assert closing.exception() is behind.exception() is None
    assert panel.closed
    assert not any(seen)
    on_request({"new": {"id": "last", "action": "choose", "scope": 1}})
    assert panel.acknowledged == ""


def test_two_panels_on_one_session_execute_and_close_apart(session: Session) -> None:
    one, other = used(session), Panel(session, SAMPLES)
    for panel in (one, other):
        ask(panel, "toggle", identity="system", usage="SqlRequest")
        ask(panel, "preview")
    assert ask(one, "execute", plan=one.preview["id"])["kind"] == "done"
    refused = ask(other, "execute", plan=other.preview["id"])
    assert refused["kind"] == "error"
    assert "changed" in refused["text"]
    one.close()
    ask(other, "read_again")
    assert other.plan.steps == ()
    other.untick("system", "SqlRequest")
    ask(other, "preview")
    assert ask(other, "execute", plan=other.preview["id"], confirmed=True)["kind"] == "done"
    other.close()


def test_a_layout_that_the_user_passed_is_kept(session: Session) -> None:
    panel, layout = Panel(session, SAMPLES), ipywidgets.Layout(width="50%")
    panel.layout = layout
    panel.close()
    assert layout.comm is not None
    layout.close()


def test_all_panels_are_of_one_class(session: Session) -> None:
    panels = [Panel(session, SAMPLES) for _ in range(2)]
    assert {type(panel) for panel in panels} == {Panel}
    state = panels[0].get_state()
    assert state["_esm"].startswith(("//", "/*", "import"))
    assert ".kqlmi" in state["_css"]
    for panel in panels:
        panel.close()


# The cells of a notebook


class Cells:
    """Runs ``%kqlmi panel`` in cells with a cell ID, as JupyterLab and VS Code send it to the kernel."""

    def __init__(self, notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
        self._notebook, self._runs = notebook, 0
        self._parent: dict[str, Any] = {}
        monkeypatch.setattr("kqlmi.notebook.panel.open_panels.get_ipython", lambda: self)

    def get_parent(self) -> dict[str, Any]:
        return self._parent

    def run(self, cell: str, text: str = "%kqlmi panel") -> Any:
        self._runs += 1
        self._parent = {"header": {"msg_id": f"run {self._runs}"}, "metadata": {"cellId": cell} if cell else {}}
        return self._notebook.run(text)


@pytest.fixture
def cells(connected: Notebook, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cells]:
    yield Cells(connected, monkeypatch)
    ipywidgets.Widget.close_all()


def test_a_cell_that_runs_again_closes_the_panel_that_it_showed(cells: Cells) -> None:
    first, other = cells.run("a"), cells.run("b")
    second = cells.run("a")
    assert [one.closed for one in (first, other, second)] == [True, False, False]


def test_a_cell_closes_all_panels_of_its_last_run_and_none_of_this_one(cells: Cells) -> None:
    two = "[get_ipython().run_line_magic('kqlmi', 'panel') for _ in range(2)]"
    first = cells.run("a", two)
    assert not any(one.closed for one in first)
    second = cells.run("a", two)
    assert all(one.closed for one in first)
    assert not any(one.closed for one in second)


def test_a_panel_stays_open_if_the_next_run_fails_or_no_cell_is_named(cells: Cells) -> None:
    first = cells.run("a")
    with pytest.raises(InputError):
        cells.run("a", "%kqlmi panel --database Nowhere")
    assert not first.closed
    assert not any(one.closed for one in [cells.run(""), cells.run("")])


@pytest.mark.notebook
def test_the_memory_of_panels_is_freed_when_they_are_closed_or_their_cell_runs_again() -> None:
    with filled(databases=10, identities=200) as cluster, connected_kernel(cluster) as kernel:
        for _ in range(2):
            kernel.open_panel("a")
        before = kernel.mebibytes
        for _ in range(6):
            kernel.open_panel("a")
        for cell in "bcdefg":
            kernel.open_panel(cell)
            kernel.run("panel.close()")
        assert kernel.mebibytes - before < 5
