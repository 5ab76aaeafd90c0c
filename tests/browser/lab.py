"""JupyterLab or Notebook 7 in Chromium, as a user sees it: a server, a browser, an open notebook."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from nbformat import NotebookNode
    from playwright.sync_api import BrowserContext, Locator, Page, Playwright

ARTIFACTS = Path(os.environ.get("KQLMI_ARTIFACTS") or Path(__file__).parents[2] / "build" / "screenshots")
SECONDS = 60

# Nothing pops up, no notebook is saved or completed automatically, and every cell is in the page.
SETTINGS: dict[str, dict[str, Any]] = {
    "apputils-extension/notification": {"checkForUpdates": False, "doNotDisturbMode": True, "fetchNews": "false"},
    "completer-extension/manager": {"autoCompletion": False},
    "docmanager-extension/plugin": {"autosave": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}
# A notebook needs this to draw its widgets again.
WIDGETS = {"saveState": True}
SERVER = [
    "--no-browser",
    "--allow-root",
    "--ip=127.0.0.1",
    "--port=0",
    "--LabApp.expose_app_in_browser=True",
    "--JupyterNotebookApp.expose_app_in_browser=True",
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
]
CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
]
# Notebook 7 opens each notebook in its own tab.
CLOSE_NOTEBOOKS = """async () => {
    for (const widget of [...(window.jupyterapp?.shell.widgets("main") ?? [])]) {
        await widget.sessionContext?.shutdown()
        widget.dispose()
    }
}"""
# A test may leave a JupyterLab dialog open, or a name in the window.
AS_AT_FIRST = """() => window.jupyterapp?.name === "JupyterLab" && !document.querySelector(".jp-Dialog")
    && !["ran_in_panel", "shifts"].some((name) => name in window)"""


class Server(NamedTuple):
    """A running JupyterLab or Notebook 7; ``folder`` contains its notebooks, ``path`` is the URL path that opens them."""

    url: str
    token: str
    folder: Path
    path: str


def find_chromium() -> str | None:
    """Return the path of a Chromium, or None."""
    names = ["chromium", "chromium-browser", "google-chrome"]
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def isolated(home: Path) -> dict[str, str]:
    """Return an environment that neither reads nor writes the user's files."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("IPYTHON", "JUPYTER", "XDG_"))}
    return kept | {"HOME": str(home), "XDG_RUNTIME_DIR": str(home)}


@contextlib.contextmanager
def chromium(driver: "Playwright", path: str | None, home: Path) -> "Iterator[BrowserContext]":
    """Run a Chromium with its own profile and home."""
    context = driver.chromium.launch_persistent_context(
        home / "profile",
        executable_path=path,
        headless=True,
        args=CHROMIUM,
        env={**isolated(home)},
        viewport={"width": 1280, "height": 960},
    )
    try:
        yield context
    finally:
        context.close()


@contextlib.contextmanager
def serve(home: Path, module: str = "jupyterlab", *options: str) -> Iterator[Server]:
    """Run ``jupyterlab`` or ``notebook`` on a free port, with a random token, its own home, and further options."""
    settings = home / ".jupyter" / "lab" / "user-settings"
    files = {f"@jupyterlab/{name}": values for name, values in SETTINGS.items()}
    for name, values in (files | {"@jupyter-widgets/jupyterlab-manager/plugin": WIDGETS}).items():
        path = settings / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    folder = home / "notebooks"
    folder.mkdir()
    # On Linux, killing the test run kills its server.
    leash = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
    command = [*leash, sys.executable, "-m", module, *SERVER, *options, f"--ServerApp.root_dir={folder}"]
    log = home / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=isolated(home), stdout=output, stderr=output)
    try:
        yield Server(*await_server(process, home, log), folder, "lab/tree" if module == "jupyterlab" else "notebooks")
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def await_server(process: subprocess.Popen[bytes], home: Path, log: Path) -> tuple[str, str]:
    """Return the URL and the token, once the server answers."""
    deadline = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        for path in home.rglob(f"jpserver-{process.pid}.json"):
            # The file may be half written, or the server not listening yet.
            with contextlib.suppress(OSError, ValueError):
                info = json.loads(path.read_text())
                url, token = info["url"].rstrip("/"), info["token"]
                with urllib.request.urlopen(f"{url}/api/status?token={token}", timeout=SECONDS):  # noqa: S310 # loopback
                    return url, token
        time.sleep(0.1)
    raise AssertionError(f"The server did not start:\n{log.read_text()}")


class Lab:
    """One browser tab on a server, which records what goes wrong in it."""

    def __init__(self, server: Server, browser: "BrowserContext") -> None:
        """Open an empty tab."""
        self.server = server
        self.name = ""
        self.opened = 0
        self.dark = False
        self.page: Page = browser.new_page()
        self.page.set_default_timeout(SECONDS * 1000)
        self.page_errors: list[str] = []
        self.foreign_requests: list[str] = []
        self.page.on("pageerror", lambda error: self._note_error(error.stack or error.message))
        self.page.on("request", lambda request: self._note(request.url))
        self.page.on("websocket", lambda socket: self._note(socket.url))

    def begin(self, name: str) -> None:
        """Set the name of the test, which its notebooks get, and forget the errors of the previous test."""
        self.name, self.opened = name, 0
        self.page_errors.clear()
        self.foreign_requests.clear()

    def _note_error(self, text: str) -> None:
        # Notebook 7.6 raises this one even on an empty page.
        of_notebook = self.front == "notebook" and "notebook_core" in text and "'schema'" in text
        # JupyterLab raises this one when a kernel dies while a subshell is being requested.
        of_a_dead_kernel = "Canceled future for create_subshell_request" in text
        if not (of_notebook or of_a_dead_kernel):
            self.page_errors.append(text)

    def _note(self, url: str) -> None:
        address = urlsplit(url)
        if address.scheme not in {"data", "blob"} and address.hostname != "127.0.0.1":
            self.foreign_requests.append(url)

    def open(self, notebook: "list[str] | NotebookNode") -> None:
        """Open a notebook, or one with code cells of the given sources, and wait until its kernel is ready."""
        import nbformat  # otherwise it takes two seconds of every worker

        node: Any = notebook
        if isinstance(notebook, list):
            node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in notebook])
        node.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        self.opened += 1
        nbformat.write(node, self.server.folder / self._file)
        if self.page.evaluate("() => window.jupyterapp?.name") == "JupyterLab":
            self._close_notebooks()
            # In braces, because what this returns, the whole document, would take seconds to arrive here.
            self.page.evaluate("path => { jupyterapp.commands.execute('docmanager:open', { path }) }", self._file)
            self._await_notebook()
        else:
            self._goto()

    @property
    def _file(self) -> str:
        return f"{self.name}-{self.opened}.ipynb"

    def _goto(self) -> None:
        address = f"{self.server.url}/{self.server.path}/{self._file}?reset&token={self.server.token}"
        self.page.goto(address, wait_until="commit")
        self._await_notebook()
        self._await_splash()

    def _await_notebook(self) -> None:
        self.page.locator(".jp-Notebook .jp-Cell").first.wait_for()
        self.await_kernel()

    def _await_splash(self) -> None:
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")

    def await_kernel(self) -> None:
        """Wait until the kernel is idle."""
        self.page.wait_for_function(
            "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
        )

    def run_cell(self, index: int) -> None:
        """Run the cell at an index, and wait for its end."""
        self._execute(f"jupyterapp.shell.currentWidget.content.activeCellIndex = {index}", "notebook:run-cell")

    def run_all(self) -> None:
        """Run the cells from the top until one fails, and wait for the end."""
        self._execute("", "notebook:run-all-cells")

    def _execute(self, before: str, command: str) -> None:
        # The end is awaited here, because this call has a time limit.
        self.page.evaluate(
            f"() => {{ {before}; window.ran = false; "
            f"jupyterapp.commands.execute('{command}').finally(() => {{ window.ran = true }}) }}"
        )
        self.page.wait_for_function("() => window.ran")

    def cell(self, index: int) -> "Locator":
        """Return the cell at an index."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def output(self, index: int) -> "Locator":
        """Return the outputs of the cell at an index."""
        return self.cell(index).locator(".jp-OutputArea-output")

    def reopen(self) -> None:
        """Save the notebook, which has a panel, end its kernel, and reopen it, as a user does the next morning."""
        self._execute("", "docmanager:save")
        self.page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.shutdown()")
        for _ in range(3):
            self.page.goto("about:blank")
            self._goto()
            drawn = self.page.locator(".kqlmi").or_(self.page.get_by_text("Error displaying widget"))
            drawn.first.wait_for()
            if self.page.locator(".kqlmi").count():
                return
            # JupyterLab does not restore widgets if the new kernel answered too slowly; a user then reloads the page.

    def restart_kernel(self) -> None:
        """Restart the kernel, and keep the outputs."""
        self.page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
        self.await_kernel()

    def set_theme(self, *, dark: bool) -> None:
        """Switch between JupyterLab's light and dark themes."""
        theme = "JupyterLab Dark" if dark else "JupyterLab Light"
        self.page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', { theme })", theme)
        self.page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=theme)
        self._await_splash()
        self.dark = dark

    def clipboard(self) -> str:
        """Return the text that was copied last."""
        self.page.context.grant_permissions(["clipboard-read"])
        return str(self.page.evaluate("() => navigator.clipboard.readText()"))

    @property
    def front(self) -> str:
        """The server's front end, ``lab`` or ``notebook``."""
        return "notebook" if self.server.path == "notebooks" else "lab"

    def screenshot(self, name: str) -> Path:
        """Save a screenshot of the tab, and return the file."""
        path = ARTIFACTS / f"{name}.png"
        self.page.screenshot(path=path)
        return path

    def clear(self) -> bool:
        """Stop the kernels and close the notebooks; return whether the tab is then in its initial state."""
        if self.dark:
            self.set_theme(dark=False)  # the server remembers the theme
        self._close_notebooks()
        return self.page.evaluate(AS_AT_FIRST) is True

    def close(self) -> None:
        """Stop the kernels, and close the tab."""
        self.clear()
        self.page.close()

    def _close_notebooks(self) -> None:
        self.page.evaluate(CLOSE_NOTEBOOKS)
