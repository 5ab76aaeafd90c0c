"""Tests that a failed change raises its own error, even if producing further help fails."""

from pathlib import Path

import pytest

import kqlmi
from kqlmi.cli import main
from kqlmi.errors import ConnectionFailedError, RequestInterruptedError
from kqlmi.model.entities import Scope
from kqlmi.model.plan import planfile
from kqlmi.model.policy.policy import Policy
from kqlmi.session import Session

ORPHAN = "0badc0de-0000-4000-8000-000000000000"


@pytest.mark.parametrize("error", [ConnectionFailedError("Away."), RequestInterruptedError("Interrupted.")])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_the_outcome_is_reported_even_if_a_follow_up_plan_cannot_be_made(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    options: list[str],
) -> None:
    def without(*_: object) -> None:
        raise error

    with kqlmi.local.start(databases=["First", "Second"], identities=["loader"]) as cluster:
        with kqlmi.connect(cluster.url, token=cluster.token) as session:
            granted = Policy.empty().grant(cluster.identities[0].object_id, "All")
            plan = session.plan(
                {Scope.database("First"): granted, Scope.database("Second"): granted.grant(ORPHAN, "All")}
            )
            saved = tmp_path / "plan.json"
            saved.write_text(planfile.to_json(plan))
        monkeypatch.setattr(Session, "without", without)
        monkeypatch.setenv("KQLMI_TOKEN", cluster.token)
        status = main(["apply", str(saved), "--on", cluster.url, "--auth", "token", "--yes", *options])
    reported = capsys.readouterr()
    assert status == 3
    assert "Before it, 1 of 2 commands was applied." in reported.err
    assert ('"outcome": "partly applied"' in reported.out) is bool(options)
