"""Tests of the python plugin as queries use it."""

import io
import zipfile
from typing import Any

import pytest

from kqlmi.local.sandbox import sandbox
from tests.local.flows.conftest import CONTAINER, READER, World, details

CALLOUT = '[{"CalloutType": "sandbox_artifacts", "CalloutUriRegex": "acct[.]blob", "CanCall": true}]'


@pytest.fixture
def python(here: World) -> World:
    here.client.mgmt(".enable plugin python")
    return here


def run(script: str, *, source: str = "print x = 1", output: str = "typeof(*)", more: str = "") -> str:
    return f"{source} | evaluate python({output}, ```{script}```{more})"


def test_it_is_off_until_an_admin_enables_it(here: World, connect: Any) -> None:
    text = run("result = df")
    assert ".enable plugin python" in here.client.refusal(text, query=True).description
    viewer = connect(here.cluster, here.cluster.token_for("viewer"))
    assert viewer.refusal(".enable plugin python").status == 403
    assert {"PluginName": "python", "IsEnabled": 1} in here.client.mgmt(".enable plugin python")
    assert viewer.query(text) == [{"x": 1}]
    here.client.mgmt(".disable plugin python")
    assert "not enabled" in here.client.refusal(text, query=True).description


def test_rows_flow_into_and_out_of_the_plugin(python: World) -> None:
    python.client.mgmt(".ingest inline into table R <| x,1\ny,2\nz,3")
    text = """
        let most = 2;
        let gain = 1.5;
        R
        | where b >= most
        | evaluate hint.distribution = per_node python(typeof(*, c: real), ```
        result = df
        result["c"] = df.b * kargs["gain"]
        ```, bag_pack('gain', gain))
        | join kind=inner (R | evaluate python(typeof(a: string), 'result = df[["a"]]')) on a
        | where c > 3
        | project a, c"""
    assert python.rows(text.replace("\n        ", "\n")) == [["z", 4.5]]


def test_a_script_can_come_from_storage(python: World) -> None:
    python.put("script.csv", '"result = df * 2"\n')
    python.grant("database Samples", python.mine, "ExternalDataRequest")
    python.assign(python.mine, READER)
    where = f"h'{CONTAINER}/script.csv;managed_identity={python.mine}'"
    text = f"let s = externaldata (script: string) [{where}]; print x = 3 | evaluate python(typeof(*), toscalar(s))"
    assert python.rows(text) == [[6]]


def test_a_stored_function_can_use_it(python: World) -> None:
    python.client.mgmt(".create function Twice() { R | evaluate python(typeof(*), 'result = pd.concat([df, df])') }")
    python.client.mgmt(".ingest inline into table R <| x,1")
    assert python.rows("Twice() | count") == [[2]]


def test_a_package_is_installed_from_an_artifact(python: World) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("faker_of_ours.py", "def name():\n    return 'Ada'\n")
    python.put("faker.zip", archive.getvalue())
    python.client.mgmt(f".alter cluster policy callout '{CALLOUT}'")
    python.grant("cluster", python.mine, "SandboxArtifacts")
    python.assign(python.mine, READER)
    script = "from sandbox_utils import Zipackage\nZipackage.install('Faker.zip')\nimport faker_of_ours\n"
    script += "result = df.assign(n=faker_of_ours.name())"
    where = f"'{CONTAINER}/faker.zip;managed_identity={python.mine}'"
    more = f", external_artifacts=bag_pack('faker.zip', {where})"
    assert python.rows(run(script, output="typeof(*, n: string)", more=more)) == [[1, "Ada"]]


def test_artifacts_need_the_callout_policy_too(python: World) -> None:
    python.grant("cluster", python.mine, "SandboxArtifacts")
    python.assign(python.mine, READER)
    more = f", external_artifacts=bag_pack('a.csv', '{CONTAINER}/a.csv;managed_identity={python.mine}')"
    error = python.client.refusal(run("result = df", more=more), query=True)
    assert details(error)["missing"] == "callout"
    assert "sandbox_artifacts" in error.description


def test_a_grant_at_a_database_has_no_effect_and_the_refusal_explains_that(python: World) -> None:
    python.client.mgmt(f".alter cluster policy callout '{CALLOUT}'")
    python.grant("database Samples", python.mine, "SandboxArtifacts")
    more = f", external_artifacts=bag_pack('a.csv', '{CONTAINER}/a.csv;managed_identity={python.mine}')"
    assert "no effect" in python.client.refusal(run("result = df", more=more), query=True).description


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("result = bytearray(8 * 2**30)", "memory limit"),
        ("while True: pass", "stopped after 2 seconds"),
        ("import time\ntime.sleep(1e6)", "stopped after 2 seconds"),
        ("import os\nwhile True: os.fork()", "cannot start a process"),
        ("raise ValueError('no')", "ValueError: no (line 1)"),
        ("x = 1", "result was not set"),
    ],
)
def test_a_script_that_goes_wrong_is_stopped_and_the_next_request_is_answered(
    python: World, script: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "stopped" in says:
        monkeypatch.setattr(sandbox, "SCRIPT_SECONDS", 2)
    assert says in python.client.refusal(run(script), query=True).description
    assert python.rows("print 1") == [[1]]
    monkeypatch.undo()
    assert python.rows(run("result = df")) == [[1]]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("print 1 | evaluate python(typeof(*))", "needs an output schema and a script"),
        ("evaluate python(typeof(*), 'result = df')", "needs input rows"),
        ("print x = 1 | evaluate python(typeof(y), 'result = df')", "expected ':'"),
        ("print x = 1 | evaluate python(typeof(y: nothing), 'result = df')", "not a column"),
        ("print x = 1 | evaluate python(typeof(*), 'a', script='b')", "twice"),
        ("print x = 1 | evaluate python(typeof(*), 1)", "string"),
        ("print x = 1 | evaluate python(typeof(*), 'a', 'b')", "property bag"),
        ("print x = 1 | evaluate python(typeof(*), 'result = df'", "expected"),
    ],
)
def test_a_wrong_call_is_refused(python: World, call: str, says: str) -> None:
    assert says in python.client.refusal(call, query=True).description
