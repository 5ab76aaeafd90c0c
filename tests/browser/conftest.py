"""Fixtures: JupyterLab, Notebook 7 and Chromium once for this folder, and a tab for each test."""

import importlib.util
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import TYPE_CHECKING

import pytest

from .lab import Lab, Server, chromium, find_chromium, serve

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext


# Scoped to the package, not the session: Playwright's event loop would interfere with those of other tests.
@pytest.fixture(scope="package")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """A function that returns a running ``jupyterlab`` or ``notebook``, each started once."""
    with ExitStack() as held:

        @cache
        def server(module: str) -> Server:
            if importlib.util.find_spec(module) is None:
                pytest.skip(f"{module} is not installed")
            return held.enter_context(serve(tmp_path_factory.mktemp(module), module))

        yield server


@pytest.fixture(scope="package")
def browser(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[BrowserContext]":
    """A running Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    playwright.expect.set_options(timeout=15_000)  # a busy machine is not a bug
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium: install it (Debian: apt-get install chromium), or set CHROMIUM to its path")
    home = tmp_path_factory.mktemp("chromium")
    with playwright.sync_playwright() as driver, chromium(driver, path, home) as context:
        yield context


@pytest.fixture(scope="package")
def tabs() -> dict[str, Lab]:
    """The tabs that earlier tests left clean, by the module of their server, because loading JupyterLab takes seconds."""
    return {}


@pytest.fixture
def lab(
    request: pytest.FixtureRequest,
    browser: "BrowserContext",
    servers: Callable[[str], Server],
    tabs: dict[str, Lab],
) -> Iterator[Lab]:
    """A tab without a notebook, on JupyterLab or the server that the test names.

    Fails the test if an error occurred in the tab, or if it made a request to another machine.
    """
    module = getattr(request, "param", "jupyterlab")
    lab = tabs.pop(module, None) or Lab(servers(module), browser)
    lab.begin(re.sub(r"\W+", "-", request.node.name))
    yield lab
    if lab.clear() and not lab.page_errors:
        tabs[module] = lab
    else:
        lab.page.close()
    assert lab.page_errors == []
    assert lab.foreign_requests == []
