"""What holds for every test: how long the laws search, and no silent skips in CI."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

CI = os.environ.get("CI") == "true"
# What a developer's machine may lack, and CI may not.
NEVER_SKIPPED_IN_CI = {"browser", "node", "notebook"}

# No deadline: a busy machine is not a bug. In CI the same examples every time, so that a failure is the change's own.
settings.register_profile("kqlmi", deadline=None, derandomize=CI, max_examples=100 if CI else 50)
# For what does not depend on how far the laws search, as the bounds on dependencies.
settings.register_profile("few", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("kqlmi")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the history of a test out of the user's, and the user's configuration out of a test."""
    monkeypatch.setenv("KQLMI_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("KQLMI_CONFIG", str(tmp_path / "config.toml"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip that CI must not have into a failure."""
    report = yield
    needs = NEVER_SKIPPED_IN_CI & {mark.name for mark in item.iter_markers()}
    if CI and needs and report.skipped and call.excinfo and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"CI must not skip a {needs.pop()} test: {call.excinfo.value}"
    return report
