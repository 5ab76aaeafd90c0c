"""Tests of the magics in a real shell, on the local cluster."""

import json
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kqlmi.cluster.protocol.table import Column, Table
from kqlmi.errors import CellError, InputError, KqlmiError, NotConnectedError, ServiceError
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.entities import Scope
from kqlmi.model.kql import tokenizer
from kqlmi.notebook.face import NOTEBOOK
from kqlmi.session import connect
from tests.notebook.conftest import Notebook

SHOW = ".show database ['Samples'] policy managed_identity"


def test_the_first_cell_without_a_connection_explains_what_to_type(notebook: Notebook) -> None:
    with pytest.raises(NotConnectedError, match="%kqlmi connect local"):
        notebook.run("%%kqlmi\n.show databases")


def test_a_policy_command_returns_one_row_for_each_identity(connected: Notebook) -> None:
    frame = connected.run(f"%%kqlmi\n{SHOW}")
    assert list(frame.columns) == ["scope", "display_name", "object_id", "is_system", "usages", "without_effect"]
    assert frame.set_index("display_name").usages["mi-adx-ingest"] == ["NativeIngestion", "DataConnection"]
    assert set(frame.scope) == {"database Samples"}
    assert frame.is_system.tolist() == [False, True]


def test_raw_and_piped_answers_are_returned_unchanged(connected: Notebook) -> None:
    raw = connected.run(f"%%kqlmi --raw\n{SHOW}")
    assert raw.EntityName.tolist() == ["[Samples]"]
    assert json.loads(raw.Policy[0])[0]["DisplayName"] == "mi-adx-ingest"
    assert list(connected.run(f"%%kqlmi\n{SHOW} | project EntityName").columns) == ["EntityName"]


def test_a_name_keeps_the_result_and_shows_nothing(connected: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    assert connected.run("%%kqlmi found << --database Samples\nStormEvents | count") is None
    assert capsys.readouterr().out == ""
    assert connected.shell.user_ns["found"].iloc[0, 0] > 0


class Forked:
    """A connection whose every answer has the tables of a fork."""

    def execute(self, *_: Any, **__: Any) -> Table:
        first, *others = (
            Table((Column("x", "long"),), [[n]], name) for n, name in ((1, "low"), (2, ""), (3, "high\n"))
        )
        return replace(first, others=tuple(others))

    def close(self) -> None:
        pass


@pytest.mark.parametrize("options", ["", " --raw"])
def test_each_table_of_an_answer_is_shown_under_its_name(
    connected: Notebook, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: str
) -> None:
    sessions = connected.shell.magics_manager.registry["KqlMagics"].sessions
    monkeypatch.setattr(sessions.get(), "connection", Forked())
    capsys.readouterr()
    with warnings.catch_warnings(record=True) as warned:
        assert connected.run(f"%%kqlmi{options}\nT | fork low=(a) (b) high=(c)").x.tolist() == [1]
    shown = capsys.readouterr().out
    assert shown.index("(no name) (table 2 of 3)") < shown.index("high\\u000a (table 3 of 3)")
    assert shown.index("The result of this cell is low, the first of 3 tables.") > shown.index("0  3")
    assert "low (table 1 of 3)" not in shown
    connected.run(f"%%kqlmi df <<{options}\nT | fork low=(a) (b) high=(c)")
    shown = capsys.readouterr().out
    assert [shown.index(f"(table {n} of 3):\n   x\n0  {n}\n") for n in (1, 2, 3)]
    assert "df is low, the first of 3 tables." in shown
    assert connected.shell.user_ns["df"].x.tolist() == [1]
    assert warned == []


def test_nothing_in_a_cell_is_expanded(connected: Notebook) -> None:
    connected.shell.user_ns["found"] = "expanded"
    frame = connected.run("%%kqlmi\nprint a='{found}', b='$found', c='{{x}}'")
    assert frame.iloc[0].tolist() == ["{found}", "$found", "{{x}}"]


DECLARED = "declare query_parameters(state:string, since:datetime, ids:dynamic);\nprint state, since, ids"


def test_parameters_are_sent_as_values_from_the_line_and_from_variables(connected: Notebook) -> None:
    connected.shell.user_ns |= {"since": pd.Timestamp("2024-01-31T01:00:00+02:00"), "ids": ["a", {"b": 1}], "n": 7}
    frame = connected.run(f'%%kqlmi --param state="\'); drop {{n}}" --param since --param ids # a note;\n{DECLARED}')
    assert frame.iloc[0].tolist() == ["'); drop {n}", pd.Timestamp("2024-01-30T23:00:00Z"), ["a", {"b": 1}]]
    assert connected.run(f"%%kqlmi --param state={{n}} --param since --param ids\n{DECLARED}").iloc[0, 0] == "7"


def test_a_wrong_parameter_is_refused_before_anything_is_sent(connected: Notebook) -> None:
    for line, message in (
        ("--param PLANTED", "Parameter 1 has no value, and no variable has its name. Write --param NAME=VALUE."),
        ("--param stat=PLANTED", "does not declare the parameter 'stat'. Did you mean state?"),
        ("--param =PLANTED", "The name of parameter 1 is not valid."),
        ("--param state=a --param state=b", "The parameter 'state' is specified more than once."),
    ):
        with pytest.raises(InputError) as caught:
            connected.run(f"%%kqlmi {line}\n{DECLARED}")
        assert message in str(caught.value)
        assert "PLANTED" not in str(caught.value)
    with pytest.raises(InputError, match="A command has no parameters"):
        connected.run("%%kqlmi --param x=1\n.show databases")


CHART = "The timechart that render requests is not drawn; these are its rows.\n"


@pytest.mark.parametrize(
    ("query", "note"),
    [
        ("print x=1 | render timechart", CHART),
        ("print x=1 | render timechart with (title='| render table')", CHART),
        ("print x='| render piechart'", ""),
        ("print x=1 | render table", ""),
        ("print x=1 // | render piechart", ""),
    ],
)
def test_a_chart_that_is_not_drawn_is_reported(
    connected: Notebook, capsys: pytest.CaptureFixture[str], query: str, note: str
) -> None:
    capsys.readouterr()
    connected.run(f"%%kqlmi found <<\n{query}")
    assert capsys.readouterr().out == note
    connected.run(f"%%kqlmi\n{query}")
    assert capsys.readouterr().out.count("not drawn") == bool(note)


def test_a_semicolon_suppresses_a_table_and_not_its_assignment(
    connected: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert connected.shell.run_cell("%kqlmi usages;", store_history=True).result is None
    assert capsys.readouterr().out == ""
    connected.shell.run_cell("found = %kqlmi usages;", store_history=True)
    assert len(connected.shell.user_ns["found"]) > 5
    assert connected.shell.run_cell("%kqlmi usages", store_history=True).result is not None


class Counted:
    """The tokenizer's pattern, recording each text that it is applied to."""

    def __init__(self) -> None:
        self.pattern, self.texts = tokenizer._TOKEN, list[str]()

    def finditer(self, text: str) -> Iterator[re.Match[str]]:
        self.texts.append(text)
        return self.pattern.finditer(text)


GRANT = """.alter-merge database ['Field Reports'] policy managed_identity '[{"ObjectId":"system","AllowedUsages":"All"}]'"""
BLOB = "https://kqlmisamples.blob.core.windows.net/landing/visits.csv;managed_identity=system"


@pytest.mark.parametrize(
    ("line", "text", "error"),
    [
        ("", SHOW, None),
        ("--raw", f"{SHOW} | project EntityName", None),
        ("found <<", GRANT, None),
        ("", f".execute database script <|\n{GRANT}\n\n.show tables", None),
        ("", ".show databases", None),
        ("", ".create table Once (a: int)", None),
        ("", ".add database ['Samples'] viewers ('aadapp=11111111-2222-3333-4444-555555555555')", None),
        ("", "print h'hunter2', 'Password=hunter3'", None),
        ("", f"let url = '{BLOB}';\nprint url", None),
        ("check", f"externaldata (a: string) [h'{BLOB}']", None),
        ("check", GRANT, None),
        ("", f"externaldata (a: string) [h'{BLOB}']", ServiceError),
        ("", ".alter-merge database ['Samples'] policy managed_identity h'[{'", ServiceError),
        ("", ".drop table Nothing", ServiceError),
        ("", "print nope", ServiceError),
        ("", "print 'it is not closed", ServiceError),
        ("", "print 1\n.show databases", CellError),
        ("--nothing", "print h'hunter2'", CellError),
        ("", "// nothing", CellError),
    ],
)
def test_a_cell_is_cut_into_tokens_once(
    connected: Notebook, monkeypatch: pytest.MonkeyPatch, line: str, text: str, error: type[KqlmiError] | None
) -> None:
    connected.run("%%kqlmi\n.show databases")
    counted = Counted()
    monkeypatch.setattr(tokenizer, "_TOKEN", counted)
    with pytest.raises(error) if error else nullcontext():
        connected.run(f"%%kqlmi {line}\n{text}\n")
    assert counted.texts.count(f"{text}\n") == 1


def test_no_policy_and_an_empty_policy_are_distinguished(
    connected: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    connected.run("%%kqlmi\n.delete database ['Field Reports'] policy managed_identity")
    assert "No policy: database Field Reports" in capsys.readouterr().out
    connected.run("%%kqlmi\n.alter database ['Field Reports'] policy managed_identity '[]'")
    assert "An empty policy: database Field Reports" in capsys.readouterr().out


def test_a_grant_without_effect_is_marked(connected: Notebook) -> None:
    frame = connected.run(
        "%%kqlmi\n.alter database ['Field Reports'] policy managed_identity"
        """ '[{"ObjectId":"system","AllowedUsages":"ExternalTable, SandboxArtifacts"}]'"""
    )
    assert frame.without_effect.tolist() == [["SandboxArtifacts"]]


def payload(text: str) -> str:
    return f"%%kqlmi\n.alter-merge database ['Samples'] policy managed_identity ```{text}```"


UNASSIGNED = "11111111-2222-3333-4444-555555555555"


@pytest.mark.parametrize(
    ("cell", "kind", "culprit"),
    [
        (payload("[{"), ServiceError, "line 1"),
        (payload('[{"AllowedUsages": "All"}]'), ServiceError, "ObjectId"),
        (payload('[{"ObjectId": "system"}]'), ServiceError, "AllowedUsages"),
        (payload('[{"ObjectId": "loader", "AllowedUsages": "All"}]'), ServiceError, "loader"),
        (payload('[{"ObjectId": "system", "AllowedUsages": "ExternalTables"}]'), ServiceError, "Did you mean ExternalTable"),
        (payload(f'[{{"ObjectId": "{UNASSIGNED}", "AllowedUsages": "All"}}]'), ServiceError, UNASSIGNED),
        ("%%kqlmi\n.show database ['Nowhere'] policy managed_identity", ServiceError, "Nowhere"),
        ("%%kqlmi --database Nowhere\nprint 1", ServiceError, "Nowhere"),
        ("%%kqlmi", CellError, "empty"),
        ("%%kqlmi\n\n", CellError, "empty"),
        ("%%kqlmi\n.show databases\n.show tables", CellError, "two commands"),
        ("%kqlmi conect local", CellError, "Did you mean connect"),
        ("%kqlmi connect", InputError, "or set KQLMI_CLUSTER"),
        ("%kqlmi connect locl", InputError, "Did you mean local"),
        ("%kqlmi connections nowhere", NotConnectedError, "nowhere"),
        ("%kqlmi usages now", CellError, "%kqlmi usages"),
        ("%kqlmi .show databases", CellError, "%%kqlmi"),
        ("%kqlmi show --on nowhere", NotConnectedError, "nowhere"),
        ("%kqlmi show --database Nowhere", InputError, "Nowhere"),
        ("%kqlmi panel --database Sample", InputError, "Did you mean Samples"),
        ("%kqlmi help nothing", CellError, "Argument 2 is not a known subcommand"),
    ],
)  # fmt: skip
def test_bad_input_fails_the_cell_names_the_culprit_and_changes_nothing(
    connected: Notebook, cell: str, kind: type[KqlmiError], culprit: str
) -> None:
    before = connected.run(f"%%kqlmi --raw\n{SHOW}")
    with pytest.raises(kind) as caught:
        connected.run(cell)
    assert culprit in str(caught.value)
    assert caught.value.hint or isinstance(caught.value, ServiceError)
    pd.testing.assert_frame_equal(connected.run(f"%%kqlmi --raw\n{SHOW}"), before)


def test_a_failure_is_one_short_line_and_its_hint_another(
    connected: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CellError):
        connected.run("%%kqlmi\n")
    shown = capsys.readouterr()
    lines = [line for line in (shown.out + shown.err).splitlines() if line.strip()]
    assert lines == [
        "CellError: The cell is empty.",
        "Write one command or query below %%kqlmi, such as .show databases.",
    ]


@pytest.mark.notebook
def test_a_failure_leaves_a_true_error_and_stops_run_all() -> None:
    import nbformat  # otherwise it takes two seconds of every worker
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    sources = ["%load_ext kqlmi\n%kqlmi connect local", "%%kqlmi\n.show nothing", "ran = True"]
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    with pytest.raises(CellExecutionError):
        NotebookClient(node, kernel_name="python3", timeout=120).execute()
    assert [output.output_type for output in node.cells[1].outputs] == ["error"]
    assert node.cells[1].outputs[0].ename == "ServiceError"
    assert node.cells[2].execution_count is None


def test_several_connections_are_distinguished_by_name(connected: Notebook, cluster: LocalCluster) -> None:
    connected.run(f"%kqlmi connect {cluster.url} --auth token --name other --database Sales --read-only")
    assert connected.run("%%kqlmi\n.show tables").DatabaseName.unique().tolist() == ["Sales"]
    assert connected.run("%%kqlmi --on test\n.show tables").DatabaseName.unique().tolist() == ["Samples"]
    with pytest.raises(InputError, match="read-only"):
        connected.run("%%kqlmi\n.delete cluster policy managed_identity")


def test_show_reads_every_scope_or_those_that_are_named(connected: Notebook) -> None:
    assert {"cluster", "database Samples", "database Telemetry"} <= set(connected.run("%kqlmi show").scope)
    assert set(connected.run("%kqlmi show --cluster").scope) == {"cluster"}
    assert set(connected.run("%kqlmi show --database sam*").scope) == {"database Samples"}


def test_a_policy_that_could_not_be_read_is_reported(
    connected: Notebook, cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KQLMI_TOKEN", cluster.token_for("viewer", database="Samples"))
    connected.run(f"%kqlmi connect {cluster.url} --auth token --name viewer")
    assert set(connected.run("%kqlmi show").scope) == {"database Samples"}
    assert "Not read: the policy of the cluster." in capsys.readouterr().out


def test_usages_and_workflows_are_listed_and_searched(connected: Notebook) -> None:
    assert len(connected.run("%kqlmi usages")) == 10
    assert len(connected.run("%kqlmi workflows")) == 27
    assert connected.run("%kqlmi workflows python plugin").usage.tolist() == ["SandboxArtifacts"]


@pytest.mark.parametrize("name", NOTEBOOK.verbs)
def test_every_subcommand_explains_itself(notebook: Notebook, capsys: pytest.CaptureFixture[str], name: str) -> None:
    notebook.run(f"%kqlmi {name} --help")
    by_option = capsys.readouterr().out
    notebook.run(f"%kqlmi help {name}")
    assert by_option == capsys.readouterr().out
    assert by_option.startswith(f"%kqlmi {name}")


@pytest.mark.parametrize("line", ["%kqlmi", "%kqlmi help", "%kqlmi --help"])
def test_the_help_lists_every_subcommand(notebook: Notebook, capsys: pytest.CaptureFixture[str], line: str) -> None:
    notebook.run(line)
    shown = capsys.readouterr().out
    assert all(f"%kqlmi {name} " in shown for name in NOTEBOOK.verbs)


def test_a_cell_can_be_typed_line_by_line_in_a_terminal(notebook: Notebook) -> None:
    assert notebook.shell.check_complete("%%kqlmi df <<\n")[0] == "incomplete"


def test_a_cell_explains_itself(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    notebook.run("%%kqlmi --help")
    assert "[name <<]" in capsys.readouterr().out


def test_no_output_contains_the_token(
    connected: Notebook, cluster: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    for cell in (
        "%kqlmi show",
        "%%kqlmi\n.show cluster",
        "%%kqlmi\n.show commands-and-queries",
        "%%kqlmi\n.show journal",
    ):
        assert cluster.token not in connected.run(cell).to_string()
    with pytest.raises(ServiceError):
        connected.run("%%kqlmi\n.show nothing")
    shown = capsys.readouterr()
    assert cluster.token not in shown.out + shown.err


def test_connections_are_listed_and_one_is_made_current(connected: Notebook, cluster: LocalCluster) -> None:
    connected.run(f"%kqlmi connect {cluster.url} --auth token --name other --read-only")
    Path(os.environ["KQLMI_CONFIG"]).write_text('[connections.prod]\ncluster = "mycluster.westeurope"\n')
    frame = connected.run("%kqlmi connections test")
    assert dict(zip(frame.name, frame.state, strict=True)) == {
        "test": "current",
        "other": "open",
        "prod": "configured",
    }
    assert frame.read_only.tolist() == [False, True, False]
    assert connected.run("%%kqlmi\n.show tables").DatabaseName.unique().tolist() == ["Samples"]


def test_settings_apply_to_later_cells(connected: Notebook, cluster: LocalCluster) -> None:
    connected.run("%config KqlMI.raw = True\n%config KqlMI.read_only = True")
    assert "PolicyName" in connected.run(f"%%kqlmi\n{SHOW}").columns
    connected.run(f"%kqlmi connect {cluster.url} --auth token --name other")
    with pytest.raises(InputError, match="read-only"):
        connected.run("%%kqlmi\n.delete cluster policy managed_identity")


def test_a_pretty_name_is_shown_beside_the_name(
    connected: Notebook, cluster: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    connected.run("%%kqlmi\n.alter database Sales prettyname 'Orders of the shop'")
    connected.run(f"%kqlmi connect {cluster.url} --auth token --name test --database 'orders of the shop'")
    out = capsys.readouterr().out
    assert "Sales (Orders of the shop)" in out
    assert "Commands run in the database Sales." in out
    assert "database Sales (Orders of the shop)" in connected.run("%kqlmi panel").scopes
    connected.run("%%kqlmi\n.drop database Sales prettyname")


def marks(notebook: Notebook) -> bool:
    """Check whether the cluster has the database that the test created on it."""
    return "Marked" in notebook.run("%%kqlmi\n.show databases").DatabaseName.tolist()


@pytest.mark.parametrize("name", ["", " --name mine"])
def test_connecting_to_local_again_keeps_the_cluster_and_reports_it(
    notebook: Notebook, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    notebook.run(f"%kqlmi connect local{name}")
    assert "kept" not in capsys.readouterr().out
    notebook.run("%%kqlmi\n.create database Marked")
    with pytest.raises(KqlmiError):  # and keeps the existing connection
        notebook.run(f"%kqlmi connect local{name} --database Missing")
    assert marks(notebook)
    capsys.readouterr()
    for line in (f"%kqlmi connect local{name} --database Samples", f"%kqlmi connect local{name} --read-only"):
        notebook.run(line)
        assert "running local cluster is kept" in capsys.readouterr().out
        assert marks(notebook)
    with pytest.raises(KqlmiError):
        notebook.run("%%kqlmi\n.drop database Marked")
    notebook.run(f"%kqlmi connect local{name} --fresh")
    assert "kept" not in capsys.readouterr().out
    assert not marks(notebook)


def test_a_cluster_that_is_not_local_is_not_started_again(connected: Notebook, cluster: LocalCluster) -> None:
    with pytest.raises(InputError, match="started fresh"):
        connected.run(f"%kqlmi connect {cluster.url} --auth token --fresh")


def test_the_last_session_stops_a_cluster_that_was_kept() -> None:
    first = connect("local")
    second = connect("local", replaces={"local": first})
    assert (first.local_cluster, second.run(".show version").rows) == (
        second.local_cluster,
        first.run(".show version").rows,
    )
    first.close()
    assert second.run(".show version").rows
    second.close()
    assert ", stopped" in repr(second.local_cluster.__enter__() if second.local_cluster else None)


def test_unloading_closes_everything_and_leaves_nothing(
    connected: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    connected.run("%kqlmi grant system AutomatedFlows --database Samples")
    shell = connected.shell
    [session] = shell.magics_manager.registry["KqlMagics"].sessions.by_name.values()
    plans = len(session.plans)
    capsys.readouterr()
    shell.run_line_magic("reload_ext", "kqlmi")
    expected = f"Closed the connection test. Plans that were shown and can no longer be applied: {plans}.\n"
    assert (plans, capsys.readouterr().out) == (1, expected)
    shell.run_line_magic("unload_ext", "kqlmi")
    assert capsys.readouterr().out == ""
    assert "KqlMagics" not in shell.magics_manager.registry
    assert not any("kqlmi" in kind for kind in shell.magics_manager.magics.values())
    assert not any(type(one).__module__.startswith("kqlmi") for one in shell.configurables)
    assert not any(one.__module__.startswith("kqlmi") for one in shell.input_transformers_cleanup)
    shell.run_line_magic("load_ext", "kqlmi")


def test_policies_without_entries_are_explained(connected: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    cluster, first = Scope.cluster(), Scope.database("Samples")
    session = connected.shell.magics_manager.registry["KqlMagics"].sessions.get()
    plan = session.plan(dict.fromkeys(session.read().snapshot.policies))
    session.apply(plan)
    try:
        capsys.readouterr()
        assert len(connected.run("%kqlmi show")) == 0
        assert re.search(
            r"these \d+ policies allow no managed identity to be used for anything", capsys.readouterr().out
        )
        assert len(connected.run("%kqlmi show --database Samples")) == 0
        assert "was not read" in capsys.readouterr().out
        assert len(connected.run("%kqlmi show --cluster")) == 0
        assert "was not read" not in capsys.readouterr().out
    finally:
        session.apply(session.undo_plan())
    assert session.policy(first) is not None
    assert session.policy(cluster) is not None
