"""Settings for every test: the number of examples, the grouping of tests by worker, and the reporting of skips."""

import gc
import os
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings

CI = os.environ.get("CI") == "true"
# A developer's machine may lack the programs that these need; CI must have them.
NEVER_SKIPPED_IN_CI = {"browser", "node", "notebook"}

# Whole workflows, programs that are started and killed, hundreds of sessions: together they take most of the time.
SLOW = (
    "tests/local/flows/",
    "tests/local/state/test_persistence.py",
    "tests/local/sandbox/test_sandbox.py",
    "tests/notebook/panel/test_endurance.py",
    "tests/safety/",
    "tests/test_acceptances.py",
    "tests/session/test_audits.py",
    "tests/session/test_statements.py",
    "tests/test_history.py",
    "tests/test_members.py",
    "tests/test_spellings.py",
    "tests/test_tighten.py",
)

# The number of examples. No deadline: a busy machine is not a bug. In CI and in the quick run the examples are the same
# every time, so that a failure is caused by the change under test.
settings.register_profile("few", deadline=None, derandomize=True, max_examples=25)
settings.register_profile("usual", deadline=None, derandomize=CI, max_examples=50)
settings.register_profile("deep", deadline=None, max_examples=1000)
settings.load_profile("usual")


_NUMBERS = count()


def _set_folders(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Keep a test's history out of the user's, and the user's configuration out of a test."""
    folder.mkdir(parents=True, exist_ok=True)
    patch.setenv("KQLMI_STATE", str(folder / "state"))
    patch.setenv("KQLMI_CONFIG", str(folder / "config.toml"))


@pytest.fixture(scope="session", autouse=True)
def _shared_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Set the folders for fixtures that several tests share."""
    with pytest.MonkeyPatch.context() as patch:
        _set_folders(patch, tmp_path_factory.mktemp("shared"))
        yield


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not tmp_path: it lists the folders of all earlier tests, which takes longer than most tests.
    _set_folders(monkeypatch, tmp_path_factory.getbasetemp() / "own" / str(next(_NUMBERS)))


@pytest.fixture(autouse=True)
def _own_clouds() -> Iterator[None]:
    """Forget the sign-in metadata of each port, because the next test may reuse the port for another server."""
    yield
    if "azure.kusto.data._cloud_settings" in sys.modules:
        sys.modules["azure.kusto.data._cloud_settings"].CloudSettings._cloud_cache.clear()


def pytest_xdist_auto_num_workers() -> int:
    """Return two workers for each core, because a test waits as much as it computes."""
    return 2 * (os.cpu_count() or 1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip that CI does not allow into a failure."""
    report = yield
    needs = NEVER_SKIPPED_IN_CI & {mark.name for mark in item.iter_markers()}
    if CI and needs and report.skipped and call.excinfo and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"CI must not skip a {needs.pop()} test: {call.excinfo.value}"
    return report


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark slow tests, and group all browser tests on one worker, so that there is one browser and one JupyterLab."""
    for item in items:
        if item.nodeid.startswith(SLOW):
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.xdist_group("browser"))
    # Slow tests begin first, so that no worker waits for them at the end.
    items.sort(key=lambda item: (not item.get_closest_marker("browser"), not item.get_closest_marker("slow")))


def pytest_collection_finish() -> None:
    """Exempt the modules and tests from garbage collection, which otherwise takes a tenth of the time."""
    gc.freeze()


def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter") -> None:
    """Report at the end what this machine lacks, and how many tests could not run for that reason."""
    skipped: list[pytest.TestReport] = terminalreporter.stats.get("skipped", [])
    lacking = Counter(
        (needs, report.longrepr[2].removeprefix("Skipped: "))
        for report in skipped
        for needs in sorted(NEVER_SKIPPED_IN_CI & report.keywords.keys())
        if isinstance(report.longrepr, tuple)
    )
    if lacking:
        terminalreporter.section("not run, for this machine lacks what they need", yellow=True)
    for (needs, reason), number in lacking.items():
        terminalreporter.write_line(f"{number} × {needs}: {reason}", yellow=True)
