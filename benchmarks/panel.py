"""The cost of the panel in a browser, compared with a grid of ipywidgets checkboxes in the same JupyterLab.

    python benchmarks/panel.py

Needs Chromium and the group `dev`. For each number of identities, with 10 usages each, prints medians of: milliseconds
from the start of a cell to the first paint in which every visible box can be ticked, and from a click until Python's
answer is in the page; messages and bytes over the kernel's websocket up to that paint, and for a click. The cell has run
once before in the same notebook, so that all libraries are loaded. The panel reads the policies at each run; the grid
reads nothing.
"""

import json
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from playwright.sync_api import Error, sync_playwright

import kqlmi
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.usages import USAGES
from tests.browser.lab import Lab, Server, chromium, find_chromium, serve

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

IDENTITIES = (20, 200, 1000)
# Above this, the grid of checkboxes fails more often than it opens.
MOST_STOCK = 200
# The server drops messages above its rate limits, and boxes of the grid with them.
UNLIMITED = [f"--ZMQChannelsWebsocketConnection.iopub_{what}_rate_limit=1e12" for what in ("msg", "data")]
REPEATED = 5
CLICKS = 15
PANEL = "kqlmi.Panel(session, kqlmi.Scope.database('Samples'))"
SETUP = """
import kqlmi, ipywidgets
session = kqlmi.connect({url!r}, token={token!r})
"""
CLEARED = "() => jupyterapp.shell.currentWidget.content.widgets[1].model.sharedModel.setOutputs([])"
STOCK = """
rows = [[ipywidgets.Label(name)] + [ipywidgets.Checkbox(indent=False) for _ in usages] for name in names]
answers = ipywidgets.Label("0")
def answer(change):
    answers.value = str(int(answers.value) + 1)
for row in rows:
    for box in row[1:]:
        box.observe(answer, names="value")
ipywidgets.VBox([answers, *map(ipywidgets.HBox, rows)])
"""
# Checks the probe before each frame until it is true; the time is taken after that frame.
PAINTED = """
([command, probe]) => new Promise((done, failed) => {
  const start = performance.now();
  const ready = new Function(`return ${probe}`);
  const look = () => {
    if (ready()) setTimeout(() => done(performance.now() - start));
    else if (performance.now() - start > 30000) failed(new Error("it was never shown"));
    else requestAnimationFrame(look);
  };
  new Function(command)();
  look();
})
"""
# Checks the probe at each change of the page until it is true.
ANSWERED = """
([command, probe]) => new Promise((done, failed) => {
  const ready = new Function(`return ${probe}`);
  const timer = setTimeout(() => failed(new Error("no answer")), 60000);
  const observer = new MutationObserver(() => {
    if (!ready()) return;
    clearTimeout(timer);
    observer.disconnect();
    done(performance.now() - start);
  });
  observer.observe(document.body, { attributes: true, characterData: true, childList: true, subtree: true });
  const start = performance.now();
  new Function(command)();
})
"""
OUTPUT = "[...document.querySelectorAll('.jp-Notebook .jp-Cell')].at(-1)"
BOXES = f"[...{OUTPUT}.querySelectorAll('input[type=checkbox]')]"


@dataclass
class Measured:
    """Milliseconds and websocket traffic, as (messages, bytes), of each repetition that opened."""

    failed: int = 0
    opened: list[float] = field(default_factory=list)
    clicked: list[float] = field(default_factory=list)
    opening: list[tuple[int, int]] = field(default_factory=list)
    clicking: list[tuple[int, int]] = field(default_factory=list)


class Traffic:
    """A counter of the frames on a tab's websockets."""

    def __init__(self, lab: Lab) -> None:
        """Count the traffic of a tab that has not opened anything yet."""
        self.messages = self.bytes = 0
        lab.page.on("websocket", self._listen)

    def _listen(self, socket: Any) -> None:
        for event in ("framesent", "framereceived"):
            socket.on(event, self._count)

    def _count(self, payload: bytes | str) -> None:
        self.messages += 1
        self.bytes += len(payload)

    def since(self, before: tuple[int, int]) -> tuple[int, int]:
        """Return the messages and bytes since earlier counts."""
        return self.messages - before[0], self.bytes - before[1]

    @property
    def now(self) -> tuple[int, int]:
        """The counts so far."""
        return self.messages, self.bytes


def filled(count: int) -> LocalCluster:
    """Return a cluster whose identities are all in the policies of the cluster and of a database."""
    identities = [f"identity {n:04}" for n in range(count)]
    cluster = kqlmi.local.start(databases=["Samples"], identities=identities)
    names = [usage.name for usage in USAGES[:-1]]
    with kqlmi.connect(cluster.url, token=cluster.token) as session:
        for scope, width in (("cluster", 1), ("database ['Samples']", 3)):
            entries = [
                {"ObjectId": one.object_id, "AllowedUsages": ", ".join(names[(n + k) % 9] for k in range(width))}
                for n, one in enumerate(cluster.identities)
            ]
            session.run(f".alter {scope} policy managed_identity '{json.dumps(entries)}'", "Samples")
    return cluster


def measure(server: Server, browser: "BrowserContext", cluster: LocalCluster, *, stock: bool) -> Measured:
    """Open and click a panel, or a stock grid of the same size, several times, each in a fresh notebook."""
    found = Measured()
    count = len(cluster.identities)
    for _ in range(REPEATED):
        lab = Lab(server, browser)
        lab.begin(f"{'stock' if stock else 'panel'}-{count}")
        traffic = Traffic(lab)
        names = f"names = {[one.display_name for one in cluster.identities]!r}\nusages = range(10)\n"
        setup = SETUP.format(url=cluster.url, token=cluster.token)
        lab.open([names + setup, STOCK if stock else PANEL])
        lab.run_cell(0)
        boxes = str(count * 10) if stock else "1"
        ready = f"({BOXES}.length >= {boxes} && {BOXES}.at(-1).offsetWidth > 0 && !{BOXES}.at(-1).disabled)"
        run = (
            "jupyterapp.shell.currentWidget.content.activeCellIndex = 1;"
            "jupyterapp.commands.execute('notebook:run-cell')"
        )
        try:
            lab.page.evaluate(PAINTED, [run, ready])
            lab.page.evaluate(CLEARED)
            lab.page.wait_for_timeout(1000)
            before = traffic.now
            found.opened.append(float(lab.page.evaluate(PAINTED, [run, ready])))
        except Error:
            # In a grid of thousands of widgets, a message is occasionally lost, and a box with it.
            found.failed += 1
            lab.close()
            continue
        found.opening.append(traffic.since(before))
        lab.page.wait_for_timeout(1000)
        for click in range(CLICKS):
            before = traffic.now
            found.clicked.append(float(lab.page.evaluate(ANSWERED, answered(click, stock=stock))))
            lab.page.wait_for_timeout(100)
            found.clicking.append(traffic.since(before))
        lab.close()
    return found


def answered(click: int, *, stock: bool) -> list[str]:
    """Return the script that clicks an unset box, and the probe that detects Python's answer."""
    if stock:
        return [f"{BOXES}[{click}].click()", f"{OUTPUT}.querySelector('.widget-label').textContent === '{click + 1}'"]
    free = f"{BOXES}.filter((box) => box.closest('.kqlmi-cell') && !box.checked && !box.indeterminate)"
    # The box shows "to grant" or "redundant" once Python has reported the effect of the tick.
    return [f"{free}[0].click()", f"{OUTPUT}.querySelectorAll('.kqlmi-changed').length === {click + 1}"]


def main() -> None:
    """Measure, and print a row for each number of identities."""
    print(f"{'identities':>10}  {'':14}{'open':>9}{'tick':>9}{'to open':>22}{'for a tick':>22}")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = Path(folder)
        for name in ("server", "browser"):
            (home / name).mkdir()
        with (
            serve(home / "server", "jupyterlab", *UNLIMITED) as server,
            chromium(playwright, find_chromium(), home / "browser") as browser,
        ):
            for count in IDENTITIES:
                with filled(count) as cluster:
                    panel = measure(server, browser, cluster, stock=False)
                    row(count, "panel", panel)
                    if count <= MOST_STOCK:
                        stock = measure(server, browser, cluster, stock=True)
                        row(count, "checkboxes", stock)
                        ratio = statistics.median(stock.opened) / statistics.median(panel.opened)
                        print(f"{'':12}the panel opens {ratio:.0f} times as fast")


def row(count: int, name: str, measured: Measured) -> None:
    """Print a row."""
    opened, clicked = (statistics.median(one) for one in (measured.opened, measured.clicked))
    texts = [
        f"{statistics.median(messages for messages, _ in found):.0f} messages"
        f" {statistics.median(size for _, size in found) / 1000:.1f} kB"
        for found in (measured.opening, measured.clicking)
    ]
    failed = f"   {measured.failed} of {REPEATED} did not open" if measured.failed else ""
    print(f"{count:>10}  {name:14}{opened:>6.0f} ms{clicked:>6.0f} ms{texts[0]:>22}{texts[1]:>22}{failed}", flush=True)


if __name__ == "__main__":
    main()
