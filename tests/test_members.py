"""Tests that a new member of a family is one file or one row, which dispatch, help, completion and the panel find.

Each test adds a member in its own process: a file by extending the ``__path__`` of the package, or a row by extending the
catalogue before anything has read it.
"""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

# Every process begins with this: the package has one more folder, as if the file were in it.
PLANT = """
import contextlib, io, sys
from importlib.machinery import PathFinder

class Extending:
    def find_spec(self, name, path, target=None):
        spec = PathFinder.find_spec(name, path, target)
        if spec and name in {packages}:
            spec.submodule_search_locations.append({folder!r} + "/" + name)
        return spec

sys.meta_path.insert(0, Extending())

def offered(line):
    from kqlmi.notebook.completion.lines import complete_line
    from kqlmi.notebook.completion.offers import Known
    return [one.text for one in complete_line(line, Known()).candidates]

def printed(line, *sessions):
    from kqlmi.notebook.face import run
    from kqlmi.notebook.settings import KqlMI
    from kqlmi.verbs import Sessions
    with contextlib.redirect_stdout(io.StringIO()) as out:
        shown = run(Sessions({{one.name: one for one in sessions}}, *(one.name for one in sessions)), line, KqlMI())
    return out.getvalue() + ("" if shown is None else shown.to_string())

@contextlib.contextmanager
def connected():
    import kqlmi
    with kqlmi.local.start(databases=["Samples"], identities=["loader"]) as cluster:
        with kqlmi.connect(cluster.url, token=cluster.token) as session:
            yield session, cluster.identities[0].object_id
"""

WORKFLOW = """
from kqlmi.model import workflows
workflows.WORKFLOWS += (
    workflows.Workflow(
        id="future_request",
        title="The plugin of the future",
        usage="AzureAI",
        sure="documented",
        identity=";managed_identity=system|<objectId>",
        kusto="Database Viewer",
        external="what it calls",
        example="evaluate future_request('…')",
        doc="future.md:1",
    ),
)
"""


def run(folder: Path, script: str, **files: str) -> None:
    """Run a script in which each package, named with ``__`` for its dots, has one more module."""
    packages = {package.replace("__", "."): dedent(source) for package, source in files.items()}
    for package, source in packages.items():
        (folder / package).mkdir()
        (folder / package / "planted.py").write_text(source, encoding="utf-8")
    text = PLANT.format(packages=set(packages) or "()", folder=str(folder)) + dedent(script)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", text],
        env=os.environ | {"KQLMI_STATE": str(folder / "state"), "IPYTHONDIR": str(folder)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_usage_is_a_row(tmp_path: Path) -> None:
    script = """
    from kqlmi.model import usages
    usages.USAGES += (usages.Usage("FutureFlow", "What is not there yet", cluster_only=True),)

    import kqlmi
    from kqlmi.notebook.panel.panel import Panel
    with connected() as (session, loader):
        session.apply(session.grant(loader, "futureflow", cluster=True))
        assert session.access(loader, "FutureFlow", database="Samples").allowed
        panel = Panel(session, kqlmi.Scope.cluster())
        [column] = [one for one in panel.columns if one["usage"] == "FutureFlow"]
        assert (column["summary"], column["known"], column["cluster_only"]) == ("What is not there yet", True, True)
        panel.close()
    assert "What is not there yet" in printed("usages")
    assert offered("grant loader Fut") == ["FutureFlow"]
    """
    run(tmp_path, script)


def test_a_flow_is_a_row_and_the_file_that_runs_it(tmp_path: Path) -> None:
    carrier = """
    from kqlmi.local import enforce
    from kqlmi.local.query.expansion import Source, plugin
    from kqlmi.local.values.tables import Table, columns

    @plugin("future_request")
    def future_request(expansion, site, context):
        use = enforce.Use("future_request", context.name, expansion.question.principal)
        enforce.permit(expansion.state, use, str(expansion.value(site, site.arguments[0], context)))
        gives = columns("Year: long")
        return Source(gives, lambda: Table(gives, ((2100,),)))
    """
    script = """
    import kqlmi
    from kqlmi.errors import ServiceError
    from kqlmi.notebook.panel.panel import Panel
    with connected() as (session, loader):
        scope = kqlmi.Scope.database("Samples")
        query = f"evaluate future_request('{loader}')"
        try:
            session.run(query, "Samples")
        except ServiceError as error:
            assert error.details["usage"] == "AzureAI", error.details
        else:
            raise AssertionError("it ran without a grant")
        draft = kqlmi.Draft.start(session.read().snapshot, scope).tick(loader, "The plugin of the future")
        session.apply(session.plan(draft.desired().policies))
        assert list(session.run(query, "Samples").column("Year")) == [2100]
        panel = Panel(session, scope)
        [column] = [one for one in panel.columns if one["usage"] == "AzureAI"]
        assert "The plugin of the future" in [row["title"] for row in column["workflows"]]
        panel.close()
    assert "The plugin of the future" in printed("workflows future")
    """
    run(tmp_path, WORKFLOW + dedent(script), kqlmi__local__flows=carrier)


def test_a_template_is_a_file(tmp_path: Path) -> None:
    text = """
    from kqlmi.model.templates import fields
    from kqlmi.model.templates.forms import template

    @template("future_request", fields.URI, fields.TEXT.called("the wish"))
    def future_request(values):
        return f"evaluate future_request({values['uri']!r}, {values['text']!r})"
    """
    script = """
    with connected() as (session, loader):
        line = f"new future_request --identity {loader} --database Samples --uri https://f.example.com/a --print"
        assert "evaluate future_request('https://f.example.com/a', 'hello')" in printed(line, session)
    assert "The plugin of the future" in printed("new")
    assert "the wish" in printed("help new future_request")
    assert offered("new fut") == ["future_request"]
    assert "--text" in offered("new future_request --")
    assert "--server" not in offered("new future_request --")
    """
    run(tmp_path, WORKFLOW + dedent(script), kqlmi__model__templates__texts=text)


def test_a_verb_is_a_file(tmp_path: Path) -> None:
    greeting = """
    from kqlmi.verbs.registry import verb

    @verb(faces=("notebook", "shell"), apart=True)
    def greet(context, name="", /, *, loud: bool = False):
        \"\"\"Greet somebody, loudly or not.\"\"\"
        return f"Hello {name}{'!' if loud else '.'}"
    """
    script = """
    assert printed("greet World --loud") == "Hello World!\\n"
    assert "%kqlmi greet" in printed("help") and "Greet somebody" in printed("greet --help")
    assert offered("gre") == ["greet"]
    assert offered("greet --l") == ["--loud"]
    from kqlmi.verbs import VERBS
    assert [*VERBS][0] == "connect" and [*VERBS][-1] == "greet"
    from kqlmi import cli
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert cli.main(["greet", "--loud", "World"]) == 0
    assert out.getvalue() == "Hello World!\\n"
    """
    run(tmp_path, script, kqlmi__verbs=greeting)


def test_a_local_command_is_a_file(tmp_path: Path) -> None:
    command = """
    from kqlmi.local.dispatch.registry import command

    @command(".show future {name:what}", schema="What: string")
    def show_future(call):
        return [(call.args["what"],)]
    """
    script = """
    with connected() as (session, loader):
        assert list(session.run(".show future ['a b'] | extend Length = strlen(What)").rows[0]) == ["a b", 3]
    """
    run(tmp_path, script, kqlmi__local__commands=command)


def test_an_audit_rule_is_a_file(tmp_path: Path) -> None:
    rule = """
    from kqlmi.model.audit.findings import rule

    @rule("too new")
    def too_new(facts):
        \"\"\"A grant that no one has looked at.

        More of it.
        \"\"\"
        for grant in facts.grants:
            yield facts.about(grant, "low", ", since today.", facts.plan_to_revoke(grant))
    """
    script = """
    import json
    from kqlmi.model.audit import auditreport
    from kqlmi import policyfile
    with connected() as (session, loader):
        session.apply(session.grant(loader, "ExternalTable", databases=["Samples"]))
        [found] = [one for one in session.audit().findings if one.rule == "too new"]
        assert found.message.endswith("is granted ExternalTable in the policy of the database Samples, since today."), found.message
        assert found.id in printed("audit", session)
        assert printed(f"audit {found.id}", session).count("too new")
        [*others, last] = json.loads(auditreport.to_sarif(session.audit(), "1"))["runs"][0]["tool"]["driver"]["rules"]
        accepted = "{rule: too new, scope: cluster, identity: system, reason: known, until: 2100-01-01}"
        policyfile.read(f"kqlmi: 1\\nmode: partial\\ncluster: {{}}\\naccepted: [{accepted}]\\n")
        assert (last["id"], last["shortDescription"]) == ("too new", {"text": "A grant that no one has looked at."})
    """
    run(tmp_path, script, kqlmi__model__audit__rules=rule)


def test_a_way_to_sign_in_is_a_file(tmp_path: Path) -> None:
    way = """
    from kqlmi.credentials.way import way

    @way("carrier-pigeon", "tenant", hint="Feed the pigeon.", entra=False)
    def pigeon(wanted):
        return "AzureCliCredential", {"process_timeout": 1, **wanted.tenant_id}
    """
    script = """
    import os, kqlmi
    from kqlmi import cli
    from kqlmi.errors import InputError, SignInError
    from kqlmi.credentials import sign_in
    os.environ["PATH"] = ""
    try:
        sign_in("carrier-pigeon", tenant="contoso.com").credential.get_token("https://kusto.kusto.windows.net/.default")
    except SignInError as error:
        assert "with carrier-pigeon failed" in str(error) and "Feed the pigeon." in str(error), error
    else:
        raise AssertionError("it signed in")
    try:
        sign_in("carrier-dove")
    except InputError as error:
        assert "carrier-pigeon" in error.hint
    assert offered("connect --auth car") == ["carrier-pigeon"]
    assert "carrier-pigeon" in printed("help connect")
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        cli.main(["audit", "--help"])
    assert "carrier-pigeon" in out.getvalue()
    """
    run(tmp_path, script, kqlmi__credentials__ways=way)


def test_only_modules_in_kqlmi_are_found(tmp_path: Path) -> None:
    elsewhere = tmp_path / "kqlmi_subcommands"
    elsewhere.mkdir()
    for name in ("kqlmi_planted.py", "planted.py", "kqlmi_subcommands/planted.py"):
        (tmp_path / name).write_text("raise AssertionError('this is not of kqlmi')", encoding="utf-8")
    run(tmp_path, f"sys.path[:0] = [{str(tmp_path)!r}, {str(elsewhere)!r}]\nassert 'connect' in printed('help')")
