"""Tests of changing policies by line magics: shown first, applied by ID, undone."""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import kqlmi
from kqlmi.errors import ApplyError, CellError, InputError, PolicyError
from kqlmi.local.cluster import LocalCluster
from tests.notebook.conftest import Notebook


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with kqlmi.local.start() as started:
        yield started


class Shown:
    """A function that runs a line and returns what it printed."""

    def __init__(self, notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
        self.notebook, self.capsys = notebook, capsys

    def __call__(self, line: str) -> str:
        self.capsys.readouterr()
        self.notebook.run(f"%kqlmi {line}")
        return self.capsys.readouterr().out

    def plan(self, line: str) -> str:
        """Run a line that plans, and return the line that applies the plan."""
        [command] = re.findall(r"To apply it: %kqlmi (.*)", self(line))
        return str(command)


@pytest.fixture
def shown(connected: Notebook, capsys: pytest.CaptureFixture[str]) -> Shown:
    return Shown(connected, capsys)


def usages(notebook: Notebook, database: str) -> dict[str, list[str]]:
    frame = notebook.run(f"%kqlmi show --database '{database}'")
    return dict(zip(frame.display_name, frame.usages, strict=True))


def test_a_grant_is_shown_applied_and_undone(shown: Shown, connected: Notebook) -> None:
    before = usages(connected, "Sales")
    text = shown("grant mi-adx-export AutomatedFlows --database Sales")
    assert "+ mi-adx-export (7b574bf6-2b96-580c-a411-e28963900e20) AutomatedFlows" in text
    assert ".alter-merge database ['Sales'] policy managed_identity" in text
    assert usages(connected, "Sales") == before
    command = shown.plan("grant mi-adx-export AutomatedFlows --database Sales")
    assert "Applied and verified on test: 1 granted" in shown(command)
    assert "AutomatedFlows" in usages(connected, "Sales")["mi-adx-export"]
    undo = shown.plan("undo")
    assert undo.endswith("--revoke")
    shown(undo)
    assert usages(connected, "Sales") == before
    assert connected.run("%kqlmi history").outcome.tolist() == ["applied", "applied"]


def test_a_plan_that_revokes_needs_the_revoke_option(shown: Shown, connected: Notebook) -> None:
    command = shown.plan("revoke mi-adx-export ExportRequest --database Sales")
    with pytest.raises(CellError, match="removes access"):
        shown(command.removesuffix(" --revoke"))
    assert "ExportRequest" in usages(connected, "Sales")["mi-adx-export"]
    shown(command)
    assert "ExportRequest" not in usages(connected, "Sales")["mi-adx-export"]


def test_a_revoke_lists_what_stays_allowed(shown: Shown) -> None:
    text = shown("revoke mi-adx-ingest SqlRequest --database Telemetry")
    assert "Nothing to do" in text
    assert "Still allowed: SqlRequest in the database Telemetry, because" in text
    assert "grants All" in text


def test_a_glob_names_several_databases_and_the_option_several_globs(shown: Shown) -> None:
    text = shown("grant system AzureAI --database sa* --database 'field reports'")
    assert "2 databases:" in text
    assert "in Sales, Field Reports" in text
    [plan_id] = re.findall(r"%kqlmi plan (\w+) --full", text)
    every = shown(f"plan {plan_id} --full")
    assert re.findall(r"^database (.*):$", every, re.MULTILINE) == ["Samples", "Sales", "Field Reports"]


@pytest.mark.parametrize(
    ("typed", "usage"),
    [
        ('"Continuous export"', "AutomatedFlows"),
        ("update_policy", "AutomatedFlows"),
        ("automated", "AutomatedFlows"),
        ('"Ingestion from storage, queued by a command"', "NativeIngestion"),
    ],
)
def test_a_usage_is_named_by_a_workflow_or_a_beginning_and_the_answer_has_its_name(
    shown: Shown, connected: Notebook, typed: str, usage: str
) -> None:
    text = shown(f"grant system {typed} --database Sales")
    assert f"means the usage {usage}." in text
    assert f'"AllowedUsages": "{usage}"' in text
    assert connected.run(f"%kqlmi access system {typed} --database Sales").usage.tolist() == [usage]


def test_a_plan_runs_once_and_only_as_it_was_shown(shown: Shown) -> None:
    command = shown.plan("grant system AzureAI --cluster")
    shown(command)
    with pytest.raises(CellError, match="is neither the ID of a plan that was shown"):
        shown(command)


def test_a_plan_is_refused_if_the_policy_has_changed(shown: Shown, connected: Notebook) -> None:
    command = shown.plan("grant system AzureAI --database Sales")
    connected.run("%%kqlmi\n.delete database Sales policy managed_identity")
    with pytest.raises(ApplyError, match=r"was changed by .* since this plan was made"):
        shown(command)


def test_an_identity_is_replaced_everywhere_the_grants_first(shown: Shown, connected: Notebook) -> None:
    text = shown("replace mi-adx-ingest --with mi-ml-artifacts")
    assert text.index("\n.alter ") < text.index("\n.alter-merge ") < text.index("The grants run before the revokes.")
    [plan_id] = re.findall(r"%kqlmi plan (\w+) --full", text)
    text = shown(f"plan {plan_id} --full")
    verbs = re.findall(r"^\.([a-z-]+) ", text, re.MULTILINE)
    assert verbs == sorted(verbs, key=lambda verb: verb != "alter-merge")
    shown(shown.plan("replace mi-adx-ingest --with mi-ml-artifacts"))
    assert usages(connected, "Telemetry") == {"mi-ml-artifacts": ["All"]}
    assert "mi-adx-ingest" not in connected.run("%kqlmi show").display_name.tolist()


@pytest.mark.parametrize(
    ("line", "kind", "culprit"),
    [
        ("grant mi-adx-export All", InputError, "No scope is specified"),
        ("grant mi-adx-export --cluster", CellError, "No usage is specified"),
        ("grant mi-adx-exporter All --cluster", InputError, "Did you mean mi-adx-export"),
        ("grant mi-adx-export ExternalTables --cluster", PolicyError, "Did you mean ExternalTable"),
        ("grant mi-adx-export All --database Nope", InputError, "Nope"),
        ("grant mi-adx-export Automated --cluster", PolicyError, "Did you mean AutomatedFlows?"),
        ("grant mi-adx-export Al --database Sales", PolicyError, "Did you mean All?"),
        ("grant mi-adx-export external --database Sales", PolicyError, "Did you mean ExternalTable or "),
        ("replace mi-adx-export --with mi-adx-export", InputError, "same identity"),
        ("replace mi-adx-export", CellError, "--with"),
        ("apply 00000000", CellError, "00000000"),
        ("undo 1999", InputError, "1999"),
        ("undo", InputError, "nothing to undo"),
        ("access mi-adx-export ExternalTables", PolicyError, "Did you mean ExternalTable"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_and_the_culprit_named(
    shown: Shown, line: str, kind: type[Exception], culprit: str
) -> None:
    with pytest.raises(kind) as caught:
        shown(line)
    assert culprit in str(caught.value)


def test_a_display_name_that_several_identities_have_is_refused_with_both() -> None:
    twins = [kqlmi.local.Identity("twin"), kqlmi.local.Identity("twin")]
    with (
        kqlmi.local.start(databases=["A"], identities=twins) as cluster,
        kqlmi.connect(cluster.url, token=cluster.token) as session,
    ):
        first, second = (twin.object_id for twin in twins)
        session.apply(session.grant(first, "All", databases=["A"]))
        session.apply(session.grant(second, "All", databases=["A"]))
        with pytest.raises(InputError) as caught:
            session.grant("twin", "SqlRequest", databases=["A"])
        assert first in str(caught.value)
        assert second in str(caught.value)
        assert session.identity(twins[0].client_id) == first


def test_effective_access_is_shown_with_its_reason(connected: Notebook) -> None:
    frame = connected.run("%kqlmi access mi-adx-ingest SqlRequest")
    assert dict(zip(frame.database, frame.allowed, strict=True)) == {
        "Samples": False, "Telemetry": True, "Sales": False, "Field Reports": False,
    }  # fmt: skip
    assert "grants All" in frame.set_index("database").reason["Telemetry"]
    everywhere = connected.run("%kqlmi access system")
    assert set(everywhere.usage) == {"ExternalTable", "AutomatedFlows"}
    matrix = connected.run("%kqlmi access --matrix --database Tele*")
    assert matrix.set_index("display_name").SqlRequest["mi-adx-ingest"] == "through All"


def test_a_user_who_may_not_write_gets_a_request_to_send(
    notebook: Notebook, cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KQLMI_TOKEN", cluster.token_for("viewer", database="Samples"))
    notebook.run(f"%kqlmi connect {cluster.url} --auth token --name viewer")
    shown = Shown(notebook, capsys)
    line = "grant mi-adx-ingest SqlRequest --database Samples"
    planned = shown(line)
    assert "Nothing was sent. Changing a policy requires AllDatabasesAdmin, and none of your roles" in planned
    assert "Please run this on viewer; it needs AllDatabasesAdmin" in planned
    command = shown.plan(line)
    with pytest.raises(ApplyError, match="not authorized"):
        notebook.run(f"%kqlmi {command}")
    text = capsys.readouterr().out
    assert "Please run this on viewer; it needs AllDatabasesAdmin" in text
    assert ".alter-merge database ['Samples'] policy managed_identity" in text


def test_identities_that_are_no_longer_assigned_are_left_out_of_a_second_plan(
    shown: Shown, connected: Notebook, cluster: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    orphan = next(one for one in cluster.identities if one.display_name == "mi-adx-ingest")
    state = cluster._state
    state.change(lambda world: replace(world, identities=tuple(one for one in state.world.identities if one != orphan)))
    command = shown.plan("revoke system ExternalTable --database Samples")
    with pytest.raises(ApplyError, match="refused and changed nothing"):
        shown(command)
    text = capsys.readouterr().out
    assert f"Not assigned to the cluster, according to its response: {orphan.object_id}" in text
    assert "- mi-adx-ingest" in text
    [second] = re.findall(r"To apply it: %kqlmi (.*)", text)
    shown(second)
    assert usages(connected, "Samples") == {}


def test_a_change_that_a_kernel_left_open_is_reported_at_the_next_connect(
    shown: Shown, connected: Notebook, cluster: LocalCluster
) -> None:
    shown(shown.plan("grant system AzureAI --cluster"))
    session = connected.shell.magics_manager.registry["KqlMagics"].sessions.get()
    [entry] = session.recorded().entries
    session.history.update(
        entry.__class__(**{**{name: getattr(entry, name) for name in entry.__slots__}, "outcome": "open"})
    )
    assert "was left open (cluster); its outcome is now: applied" in shown(
        f"connect {cluster.url} --auth token --name again"
    )


def test_a_policy_file_is_exported_edited_shown_and_applied(shown: Shown, connected: Notebook, tmp_path: Path) -> None:
    path = tmp_path / "my policy.yaml"
    assert "Written" in shown(f"export '{path}'")
    assert "Nothing to do" in shown(f"plan '{path}'")
    path.write_text(path.read_text().replace("[All]", "[NativeIngestion]"))
    edited = path.read_text()
    with pytest.raises(CellError, match="not been shown before"):
        shown(f"apply '{path}' --revoke")
    assert usages(connected, "Telemetry") == {"mi-adx-ingest": ["All"]}
    assert "Applied and verified" in shown(f"apply '{path}' --revoke")
    assert usages(connected, "Telemetry") == {"mi-adx-ingest": ["NativeIngestion"]}
    shown(f"export '{path}'")
    assert path.read_text() == edited


@pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes")
def test_an_export_keeps_a_files_mode_and_the_link_to_it(shown: Shown, tmp_path: Path) -> None:
    path, link = tmp_path / "policy.yaml", tmp_path / "link.yaml"
    path.touch()
    path.chmod(0o600)
    link.symlink_to(path)
    shown(f"export '{link}'")
    assert link.readlink() == path
    assert path.stat().st_mode & 0o777 == 0o600
    assert "databases:" in path.read_text()


def test_a_plan_is_shown_in_other_forms(shown: Shown) -> None:
    command = shown.plan("grant system AzureAI --cluster")
    number = command.split()[1]
    assert shown(f"plan {number} --format markdown").startswith(f"### Plan {number}")
    assert shown(f"plan {number} --format kql").startswith(f"// Plan {number}")
    with pytest.raises(CellError, match="Did you mean markdown"):
        shown(f"plan {number} --format markdwn")
    with pytest.raises(CellError, match="is neither the ID of a plan that was shown nor a readable file"):
        shown("plan nothing.yaml")


def test_a_policy_file_prints_what_it_does_not_govern(shown: Shown, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("kqlmi: 1\nmode: complete\ndatabases:\n  Sales: none\n")
    text = shown(f"plan '{path}'")
    assert ".delete database ['Sales'] policy managed_identity" in text
    assert "Not managed by the file: cluster, database Samples, database Telemetry, database Field Reports." in text


def test_a_stale_plan_is_not_taken_for_one_of_identities_that_are_not_assigned(
    shown: Shown, connected: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    one = shown.plan("grant mi-adx-ingest SqlRequest --database Sales")
    other = shown.plan("grant mi-adx-ingest AzureAI --database Sales")
    connected.run(f"%kqlmi {one}")
    capsys.readouterr()
    with pytest.raises(ApplyError, match="SqlRequest"):
        connected.run(f"%kqlmi {other}")
    assert "Not assigned" not in capsys.readouterr().out


def test_a_plan_is_applied_on_the_connection_that_it_was_made_on(
    shown: Shown, connected: Notebook, cluster: LocalCluster
) -> None:
    connected.run(f"%kqlmi connect {cluster.url} --auth token --name other")
    line = shown.plan("grant mi-adx-ingest SqlRequest --database Telemetry --on test")
    connected.run(f"%kqlmi {line}")
    frame = connected.run("%kqlmi access mi-adx-ingest SqlRequest --database Telemetry")
    assert frame.allowed.tolist() == [True]


def test_a_database_that_does_not_exist_allows_nothing_and_is_not_shown_so(connected: Notebook) -> None:
    with pytest.raises(InputError, match="Did you mean Samples"):
        connected.run("%kqlmi access --database Sampels")
