"""Tests that the client and the local cluster recognise every documented spelling of a policy write."""

import shutil
from collections.abc import Iterator
from dataclasses import replace

import pytest

import kqlmi
from kqlmi.local import commands as local_commands
from kqlmi.local.cluster import LocalCluster
from kqlmi.local.values.faults import KustoError
from kqlmi.model.entities import Scope
from kqlmi.model.policy import commands
from kqlmi.model.policy.policy import Policy
from kqlmi.model.statement import Statement
from kqlmi.session import Session

from .spellings import ALL, CLUSTER, DATABASE, OTHERS, PAYLOAD, SPELLINGS, Spelling

SCOPES = {CLUSTER: Scope.cluster(), DATABASE: Scope.database(DATABASE), "Other": Scope.database("Other")}
HELD = Policy.empty().grant("system", "ExternalTable")
SINGLE = [one for one in ALL if not one.text.startswith(".execute")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """One cluster for all tests: each restores what it changes, or writes it first."""
    with kqlmi.local.start(databases=[DATABASE, "Other"], identities=["system"]) as started:
        yield started


@pytest.fixture(scope="module")
def session(cluster: LocalCluster) -> Iterator[Session]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)  # it takes most of the time, and no crash is tested here
        with kqlmi.connect(cluster.url, token=cluster.token, database=DATABASE) as opened:
            yield opened


@pytest.fixture(autouse=True)
def _nothing_recorded(session: Session, cluster: LocalCluster) -> None:
    """Clear the history and the journal, because reading them takes longer the more they contain."""
    assert session.history
    shutil.rmtree(session.history.folder, ignore_errors=True)
    cluster._state.change(lambda world: replace(world, journal=()))


def held(session: Session) -> dict[str, frozenset[tuple[str, str]] | None]:
    policies = {name: session.policy(scope) for name, scope in SCOPES.items()}
    return {name: policy.grants if policy else None for name, policy in policies.items()}


def expected(spelling: Spelling) -> dict[str, frozenset[tuple[str, str]] | None]:
    """Return the grants of each scope after a text, if each scope granted ``HELD`` before."""
    found: dict[str, frozenset[tuple[str, str]] | None] = dict.fromkeys(SCOPES, HELD.grants)
    for verb, scope, _ in spelling.writes:
        new = frozenset({("system", "SqlRequest")})
        found[scope] = {"alter": new, "alter-merge": new | (found[scope] or frozenset()), "delete": None}[verb]
    return found


def test_the_table_is_large_and_has_no_duplicates() -> None:
    assert len({one.text for one in ALL}) == len(ALL) > 180
    assert {verb for one in ALL for verb, _, _ in one.writes} == {"alter", "alter-merge", "delete"}


def test_the_client_recognises_the_writes_in_each_spelling() -> None:
    for spelling in ALL:
        found = [
            (one.verb, one.scope or SCOPES[DATABASE], one.payload) for one in Statement(spelling.text).policy_writes
        ]
        assert found == [(verb, SCOPES[scope], text) for verb, scope, text in spelling.writes], spelling.text
    assert [text for text in OTHERS if Statement(text).policy_writes] == []


def test_the_client_knows_which_answers_are_the_policy() -> None:
    for spelling in SINGLE:
        command = Statement(spelling.text).policy_command
        assert command, spelling.text
        assert command.piped != spelling.shows, spelling.text
        [(verb, scope, payload)] = spelling.writes
        assert (command.verb, command.scope or SCOPES[DATABASE], command.payload) == (verb, SCOPES[scope], payload)
    assert [one.text for one in ALL if one not in SINGLE and Statement(one.text).policy_command] == []


def test_the_local_cluster_reads_each_as_the_same_command() -> None:
    for spelling in SINGLE:
        matched = local_commands.match(spelling.text)
        [(verb, scope, payload)] = spelling.writes
        kind = "Cluster" if scope == CLUSTER else "Database"
        name = "".join(word.capitalize() for word in verb.split("-"))
        assert matched.command.operation == f"{kind}Policy{name}Command", spelling.text
        assert matched.args.get("payload") == payload
        assert scope == CLUSTER or matched.args.get("database", DATABASE).lower() == DATABASE.lower()
        assert bool(matched.operators or matched.query) != spelling.shows, spelling.text


@pytest.mark.parametrize("spelling", SPELLINGS, ids=range(len(SPELLINGS)))
def test_each_spelling_is_run_recorded_and_undone(session: Session, spelling: Spelling) -> None:
    scopes = dict.fromkeys(scope for _, scope, _ in spelling.writes)
    for scope in scopes:
        session.connection.execute(commands.alter(SCOPES[scope], HELD))
    answer = session.run(spelling.text)
    left = {SCOPES[scope]: session.policy(SCOPES[scope]) for scope in scopes}
    wanted = expected(spelling)
    assert {scope: policy and policy.grants for scope, policy in left.items()} == {
        SCOPES[scope]: wanted[scope] for scope in scopes
    }
    assert (session.policy_in(answer, spelling.text) is not None) == spelling.shows
    [entry] = session.recorded().entries
    assert entry.outcome == "applied"
    assert {step.scope: step.after for step in entry.steps} == left
    assert [step.before.grants for step in entry.steps if step.before] == [HELD.grants] * len(scopes)
    plan = session.undo_plan()
    assert {step.scope for step in plan.steps} == left.keys()
    session.apply(plan)
    assert all((policy := session.policy(scope)) and policy.grants == HELD.grants for scope in left)


@pytest.mark.parametrize(
    "text",
    [
        ".alter cluster policy managed_identity '[]'; .show databases",
        ".alter cluster policy managed_identity '[]' | project Policy; $command_results | count",
        ".alter cluster policy managed_identity '[]'; )",
        ".alter cluster policy managed_identity '[]' | project Nothing",
        ".alter cluster policy managed_identity '[]' extra",
        ".alter cluster policy managed_identity; '[]'",
        ".alter cluster policy managed_identity '['; ']'",
        f".alter cluster policy managed_identity '{PAYLOAD}' '{PAYLOAD}'",
    ],
)
def test_an_incomplete_or_overlong_spelling_is_refused_and_recorded_correctly(session: Session, text: str) -> None:
    before = held(session)
    with pytest.raises(kqlmi.KqlmiError) as caught:
        session.run(text)
    truth = "applied" if held(session) != before else "not applied"
    assert session.recorded().entries[-1].outcome == truth
    assert ("changed nevertheless" in caught.value.hint) == (truth == "applied")
    if truth == "applied":
        session.undo()
    assert held(session) == before


# Scripts that fail halfway

STRANGER = PAYLOAD.replace("system", "11111111-2222-3333-4444-555555555555")
FAILS = f""".execute database script OPTIONS <|
.alter database ['My db'] policy managed_identity '{PAYLOAD}'
.alter database Other policy managed_identity '{STRANGER}'
.delete database Other policy managed_identity"""


@pytest.mark.parametrize(
    ("options", "results", "outcomes"),
    [
        ("", ["Completed", "Failed", "Skipped"], ["applied", "not applied"]),
        (" with (ContinueOnErrors=false)", ["Completed", "Failed", "Skipped"], ["applied", "not applied"]),
        (" with (ContinueOnErrors=true)", ["Completed", "Failed", "Completed"], ["applied", "applied"]),
        (" with (ThrowOnErrors=true)", None, ["applied", "not applied"]),
    ],
)
def test_each_scope_of_a_script_that_fails_halfway_is_recorded_correctly_and_undone(
    session: Session, options: str, results: list[str] | None, outcomes: list[str]
) -> None:
    for scope in SCOPES.values():
        session.connection.execute(commands.alter(scope, HELD))
    before, text = held(session), FAILS.replace("OPTIONS", options)
    if results is None:
        with pytest.raises(kqlmi.KqlmiError, match="not assigned"):
            session.run(text)
    else:
        answer = session.run(text)
        names = [column.name for column in answer.columns]
        assert names == ["OperationId", "CommandType", "CommandText", "Result", "Reason"]
        assert answer.column("Result") == results
        assert [bool(reason) for reason in answer.column("Reason")] == [one != "Completed" for one in results]
        assert answer.column("CommandText")[2] == ".delete database Other policy managed_identity"
    entry = session.recorded().entries[-1]
    assert [step.outcome for step in entry.steps] == outcomes
    assert entry.outcome == ("applied" if set(outcomes) == {"applied"} else "partly applied")
    session.undo()
    assert held(session) == before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (".execute database script with (Whatever=true) <|\n.create table A (x: long)", "ContinueOnErrors"),
        (".execute database script with (ThrowOnErrors=maybe) <|\n.create table A (x: long)", "ThrowOnErrors"),
        (
            ".execute database script with (ThrowOnErrors=true, ContinueOnErrors=true) <|\n.create table A (x: long)",
            "cannot be combined",
        ),
        (".execute database script <| print 1", "must begin with a dot"),
        (".execute database script <| // nothing", "contains no command"),
        (".execute database script", "<|"),
        (".execute table script <| .show version", "not recognised"),
    ],
)
def test_an_invalid_script_is_refused(session: Session, text: str, says: str) -> None:
    with pytest.raises(kqlmi.KqlmiError, match=says):
        session.run(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (".execute database script <| .alter cluster policy managed_identity '[]'", "Not a database-scope command"),
        (
            ".execute cluster script <| .alter database Other policy managed_identity '[]'",
            "Not a cluster-scope command",
        ),
        (".execute database script <| .execute database script <| .create table A (x: long)", "contain a script"),
    ],
)
def test_a_command_of_another_scope_fails_in_a_script(session: Session, text: str, reason: str) -> None:
    before, answer = held(session), session.run(text)
    assert answer.column("Result") == ["Failed"]
    assert reason in answer.column("Reason")[0]
    assert held(session) == before


def test_a_command_that_only_shows_is_skipped_in_a_script(session: Session) -> None:
    answer = session.run(".execute database script <|\n.show tables\n// and\n.show cluster policy managed_identity\n")
    assert list(zip(answer.column("CommandType"), answer.column("Result"), strict=True)) == [
        ("TablesShow", "Skipped"),
        ("ClusterPolicyShow", "Skipped"),
    ]


def test_the_hidden_literals_of_a_script_are_masked(session: Session) -> None:
    text = ".execute database script <| .alter cluster policy callout h'[secret'"
    answer = session.run(text)
    assert "secret" not in str(answer.rows)
    assert "secret" not in str(session.run(".show commands").rows)


def test_a_query_over_the_results_may_read_tables_but_no_other_scope() -> None:
    assert local_commands.match(".show tables; $command_results | count").query.strip() == "$command_results | count"
    for text in (".show tables; .show tables", ".show tables extra"):
        with pytest.raises(KustoError):
            local_commands.match(text)
