"""Tests of identities and data connections by line magics: shown first, applied by ID, no secrets printed."""

import re
import traceback
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

import kqlmi
from kqlmi.cluster.connection import Connection
from kqlmi.cluster.protocol.table import Table
from kqlmi.errors import ApplyError, CellError, InputError, KqlmiError
from kqlmi.local.cluster import LocalCluster
from kqlmi.notebook.completion import Known, Names, complete
from tests.arm.conftest import create
from tests.notebook.conftest import Notebook


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with kqlmi.local.start(databases=["Samples"], identities=["system", "loader", "exporter"]) as started:
        yield started


@pytest.fixture
def azure(notebook: Notebook, cluster: LocalCluster) -> Notebook:
    session = kqlmi.connect(
        cluster.url,
        token=cluster.token,
        name="here",
        database="Samples",
        resource_id=cluster.resource_id,
        arm_options=cluster.arm_options,
    )
    notebook.shell.magics_manager.registry["KqlMagics"].sessions.add(session)
    notebook.run("%%kqlmi\n.create table T (a: string)")
    return notebook


def names(cluster: LocalCluster) -> list[str]:
    return [one.display_name for one in cluster.identities]


def offered(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """Return what was printed, and the line that applies the plan."""
    shown = capsys.readouterr().out
    [line] = re.findall(r"To apply it: (%kqlmi apply \w+(?: --revoke)?)", shown)
    return shown, line


def test_identities_are_listed_with_what_is_wrong_between_assignment_and_policies(
    azure: Notebook, cluster: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    azure.run("%kqlmi grant system All --database Samples")
    azure.run(offered(capsys)[1])
    frame = azure.run("%kqlmi identities").set_index("display_name")
    assert frame.assigned.all()
    assert frame.note.to_dict() == {cluster.name: "", "loader": "not in any policy", "exporter": "not in any policy"}
    assert frame.policies[cluster.name] == ["database Samples: All"]
    assert frame.resource_id["loader"].endswith("/userAssignedIdentities/loader")


def test_unassigning_is_shown_needs_revoke_and_is_reverted_by_the_printed_line(
    azure: Notebook, cluster: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    azure.run("%kqlmi unassign loader")
    shown, line = offered(capsys)
    assert "PATCH /subscriptions/" in shown
    assert line.endswith(" --revoke")
    assert "No use was found that would stop." in shown
    with pytest.raises(CellError, match="removes access"):
        azure.run(line.removesuffix(" --revoke"))
    plan = line.split()[2]
    azure.run(f"%kqlmi plan {plan}")
    assert offered(capsys)[1] == line
    azure.run(line)
    shown = capsys.readouterr().out
    assert "Applied and verified on here: unassign loader" in shown
    assert names(cluster) == ["system", "exporter"]
    with pytest.raises(CellError, match="is neither the ID of a plan that was shown"):
        azure.run(line)
    [back] = re.findall(r"To revert it: (%kqlmi assign \S+)", shown)
    azure.run(back)
    azure.run(offered(capsys)[1])
    assert names(cluster) == ["system", "exporter", "loader"]


def test_the_system_identity_has_the_name_of_the_cluster(
    azure: Notebook, cluster: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    azure.run("%kqlmi unassign system")
    shown, line = offered(capsys)
    assert "This cannot be undone" in shown
    assert f"{line} --confirm NAME, with the name of the cluster" in shown
    with pytest.raises(CellError, match="can only be shown as text"):
        azure.run(f"%kqlmi plan {line.split()[2]} --format json")
    session = azure.shell.magics_manager.registry["KqlMagics"].sessions.get()
    [plan] = [found for key, found in session.plans.items() if key.startswith(line.split()[2])]
    with pytest.raises(InputError, match="must be confirmed with the name of the cluster"):
        session.apply(plan)
    with pytest.raises(InputError, match="must be confirmed with the name of the cluster"):
        azure.run(f"{line} --confirm here")
    azure.run(f"{line} --confirm {cluster.name}")
    assert names(cluster) == ["loader", "exporter"]


def test_a_hub_is_received_after_the_printed_line_is_run(
    azure: Notebook, cluster: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = cluster.hub("ns", "hub").resource_id
    azure.run(f"%kqlmi eventhub dc --hub {hub} --table T --identity loader --format csv")
    shown, line = offered(capsys)
    [grant] = re.findall(r"^ *(%kqlmi grant .*)", shown, re.MULTILINE)
    azure.run(grant)
    azure.run(offered(capsys)[1])
    azure.run(line)
    assert "Applied and verified" in capsys.readouterr().out
    frame = azure.run("%kqlmi dataconnections")
    assert frame.loc[0, ["database", "name", "table", "identity"]].tolist() == ["Samples", "dc", "T", "loader"]
    assert frame.allowed.all()
    assert "grants DataConnection" in frame.reason[0]


def test_without_a_resource_id_the_policies_are_used(
    azure: Notebook, cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    azure.run("%kqlmi grant system All --database Samples")
    azure.run(offered(capsys)[1])
    monkeypatch.setenv("KQLMI_TOKEN", cluster.token)
    azure.run(f"%kqlmi connect {cluster.url} --auth token --name bare")
    capsys.readouterr()
    frame = azure.run("%kqlmi identities")
    assert capsys.readouterr().out.count("--resource-id") == 1
    assert frame.assigned.isna().all()
    assert frame.object_id.tolist() == [cluster.identities[0].object_id]
    for line in ("dataconnections", "assign loader", "unassign loader"):
        with pytest.raises(InputError, match="--resource-id"):
            azure.run(f"%kqlmi {line}")


def test_no_secret_is_shown_wherever_it_fails(
    azure: Notebook, cluster: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    session = azure.shell.magics_manager.registry["KqlMagics"].sessions.get()
    refused = cluster.arm_options_for("none")
    secrets = [cluster.token, cluster.arm_token, refused["credential"].get_token().token]
    lines = ("identities", "assign loader", "unassign system", "dataconnections", "audit", "tighten")
    shown = []
    for options in (refused, {**cluster.arm_options, "base_url": "http://127.0.0.1:9", "retry_total": 0}):
        session.resource = type(session.resource)(cluster.resource_id, options)
        shown.append(repr(session.resource))
        for line in lines:
            try:
                azure.run(f"%kqlmi {line}")
            except KqlmiError as error:
                shown += traceback.format_exception(error)
    session.resource = type(session.resource)(cluster.resource_id, cluster.arm_options)
    plan = session.unassign("loader")
    session.resource = type(session.resource)(cluster.resource_id, refused)
    with pytest.raises(ApplyError) as caught:
        session.apply(plan)
    shown += [*traceback.format_exception(caught.value), repr(plan), *capsys.readouterr()]
    assert "AuthorizationFailed" in "".join(shown)
    assert not [one for one in secrets if one in "".join(shown)]


def test_an_undo_that_the_cluster_will_refuse_is_reported_with_the_plan(
    azure: Notebook, cluster: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    loader = cluster.identities[1].object_id
    for line in (f"grant {loader} AzureAI --database Samples", f"revoke {loader} AzureAI --database Samples"):
        azure.run(f"%kqlmi {line}")
        azure.run(offered(capsys)[1])
    azure.run("%kqlmi unassign loader")
    azure.run(offered(capsys)[1])
    azure.run("%kqlmi undo")
    assert f"Not assigned to the cluster, according to Azure Resource Manager: {loader}" in capsys.readouterr().out


class Counting:
    """A connection that counts the reads of each policy."""

    def __init__(self, connection: Connection) -> None:
        self.connection, self.read = connection, Counter[str]()

    def execute(self, text: str, database: str | None = None, **options: Any) -> Table:
        if text.startswith(".show") and text.endswith(" policy managed_identity"):
            self.read[text] += 1
        return self.connection.execute(text, database, **options)

    def close(self) -> None:
        self.connection.close()


def test_an_identity_is_assigned_and_a_minute_later_granted_and_used_by_its_name(
    azure: Notebook, cluster: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    made = create(cluster, "mi-fresh")
    with pytest.raises(InputError, match="nor assigned"):
        azure.run("%kqlmi grant mi-fresh ExternalTable --database Samples")
    azure.run("%kqlmi assign mi-fresh")
    azure.run(offered(capsys)[1])
    for name in ("MI-Fresh", made.principal_id.upper(), made.client_id, made.id):
        azure.run(f"%kqlmi grant {name} ExternalTable --database Samples")
        shown, line = offered(capsys)
        assert f"+ mi-fresh ({made.principal_id}) ExternalTable" in shown
    frame = azure.run("%kqlmi access mi-fresh ExternalTable")
    assert (frame.display_name.tolist(), frame.allowed.tolist()) == (["mi-fresh"], [False])
    azure.run(line)
    assert azure.run("%kqlmi access mi-fresh ExternalTable").allowed.tolist() == [True]


def test_a_client_id_known_only_to_azure_is_answered_with_the_object_id(
    azure: Notebook, cluster: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    loader = next(one for one in cluster.identities if one.display_name == "loader")
    azure.run(f"%kqlmi grant {loader.client_id} ExternalTable --database Samples")
    shown, _ = offered(capsys)
    assert f"+ loader ({loader.object_id}) ExternalTable" in shown
    assert loader.client_id not in shown


def test_a_name_that_was_assigned_is_offered_at_tab(azure: Notebook, cluster: LocalCluster) -> None:
    create(cluster, "mi-fresh")
    azure.run("%kqlmi assign mi-fresh")
    session = azure.shell.magics_manager.registry["KqlMagics"].sessions.get()
    known = Known({"here": Names(identities=session.known.directory.names)}, "here")
    assert "mi-fresh" in {one.text for one in complete("%kqlmi grant mi", "", known).candidates}


def test_a_revoke_reads_each_policy_once(azure: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    azure.run("%kqlmi grant loader All --database Samples")
    azure.run(offered(capsys)[1])
    session = azure.shell.magics_manager.registry["KqlMagics"].sessions.get()
    session.connection = counting = Counting(session.connection)
    azure.run("%kqlmi revoke loader All --database Sam*")
    assert "- loader" in offered(capsys)[0]
    assert set(counting.read.values()) == {1}
    assert len(counting.read) == 2


ENABLE = '%kqlmi enable "Queued ingestion by an SDK" --identity loader --table T'


def test_enable_shows_its_plans_in_order_and_each_is_applied_by_its_line(
    azure: Notebook, cluster: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    azure.run("%kqlmi unassign loader")
    azure.run(offered(capsys)[1])
    capsys.readouterr()
    azure.run(ENABLE)
    shown = capsys.readouterr().out
    assigning, granting = re.findall(r"To apply it: (%kqlmi apply \w+)", shown)
    assert f"Plans, in this order: {assigning.split()[2]}, {granting.split()[2]}." in shown
    assert "[ ] loader" in shown
    azure.run(assigning)
    assert names(cluster) == ["system", "exporter", "loader"]
    azure.run(granting)
    capsys.readouterr()
    azure.run(ENABLE)
    shown = capsys.readouterr().out
    assert "[ ] " not in shown
    assert "[x] a policy allows NativeIngestion" in shown
    assert "To apply it" not in shown


def test_enable_on_a_read_only_session_prints_requests(
    notebook: Notebook, cluster: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    session = kqlmi.connect(cluster.url, token=cluster.token, name="here", database="Samples", read_only=True)
    notebook.shell.magics_manager.registry["KqlMagics"].sessions.add(session)
    notebook.run(f"%kqlmi enable externaldata --identity {cluster.identities[1].object_id}")
    shown = capsys.readouterr().out
    assert "Send this to an administrator" in shown
    assert ".alter-merge database ['Samples'] policy managed_identity" in shown
    assert "To apply it" not in shown


def test_tab_offers_what_the_gates_of_a_workflow_depend_on() -> None:
    known = Known({"here": Names(("Samples",), {"system": "the engine"})}, "here")

    def offered_for(flow: str) -> list[str]:
        return [one.text for one in complete(f"%kqlmi enable {flow} --", "", known).candidates]

    common = ["--identity", "--database", "--probe", "--on", "--help"]
    assert sorted(offered_for("externaldata")) == sorted(["--uri", "--format", *common])
    assert sorted(offered_for("continuous_export")) == sorted(["--uri", *common])
    assert sorted(offered_for("dataconnection.eventhub")) == sorted(["--hub", *common])
