"""Tests that a skip is reported at the end of the run, and fails in CI."""

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

NEEDS = """
import pytest

@pytest.fixture
def browser():
    pytest.skip("no Chromium: install it")

@pytest.mark.browser
@pytest.mark.parametrize("page", range(3))
def test_page(browser, page): ...

@pytest.mark.skip("on Windows only")
def test_other(): ...
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest((Path(__file__).parent / "conftest.py").read_text(encoding="utf-8"))
    pytester.makeini("[pytest]\nmarkers =\n    browser\n    slow\n    xdist_group")
    pytester.makepyfile(NEEDS)
    return pytester


def test_a_missing_program_is_reported_once_with_the_tests_that_it_prevented(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "")
    result = suite.runpytest_subprocess()
    result.assert_outcomes(skipped=4)
    result.stdout.fnmatch_lines(["*not run, for this machine lacks*", "3 × browser: no Chromium: install it"])


def test_in_ci_a_missing_program_is_a_failure_and_an_unsupported_platform_is_not(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    suite.runpytest_subprocess().assert_outcomes(errors=3, skipped=1)


def test_one_worker_runs_all_that_needs_a_browser(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "")
    suite.makepyfile(NEEDS.replace('pytest.skip("no Chromium: install it")', "pass").replace("range(3)", "range(40)"))
    result = suite.runpytest_subprocess("--numprocesses=2", "--dist=loadgroup", "--verbose")
    workers = re.findall(r"\[(gw\d)\].* PASSED .*::test_page\[", result.stdout.str())
    assert len(workers) == 40
    assert len(set(workers)) == 1
