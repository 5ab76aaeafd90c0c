"""Tests of resolving identities with few requests: an identity assigned a minute ago is found by each of its names."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

import kqlmi
from kqlmi.cluster.connection import Connection
from kqlmi.cluster.protocol.table import Table
from kqlmi.errors import InputError, PolicyError
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.entities import ObjectId, Scope
from kqlmi.notebook.panel.panel import Panel
from kqlmi.session import Session

SAMPLES, OTHER = Scope.database("Samples"), Scope.database("Other")


@dataclass
class Counting:
    """A connection that counts what is sent: reads of policies by scope, and lists of databases."""

    connection: Connection
    sent: Counter[str] = field(default_factory=Counter)

    def execute(self, text: str, database: str | None = None, **options: Any) -> Table:
        policy = re.fullmatch(r"\.show (?:cluster|database \['(.*)'\]) policy managed_identity", text)
        self.sent[(policy[1] or "cluster") if policy else text] += 1
        return self.connection.execute(text, database, **options)

    def close(self) -> None:
        self.connection.close()

    @property
    def policies(self) -> dict[str, int]:
        return {name: count for name, count in self.sent.items() if not name.startswith(".")}


@dataclass
class Place:
    cluster: LocalCluster
    session: Session
    kusto: Counting
    azure: list[str]

    def counts(self) -> tuple[dict[str, int], int]:
        """Return the reads of policies by scope, and the number of requests to Azure, since the last call."""
        found = self.kusto.policies, len(self.azure)
        self.kusto.sent.clear()
        self.azure.clear()
        return found


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    names = ["system", "loader", "exporter", "elsewhere"]
    with kqlmi.local.start(databases=["Samples", "Other", "Third"], identities=names) as started:
        with kqlmi.connect(started.url, token=started.token, history=False) as admin:
            ids = {one.display_name: one.object_id for one in started.identities}
            admin.run(".create table T (x: int)", "Samples")
            admin.apply(admin.grant(ids["exporter"], "SqlRequest", databases=["Samples"]))
            admin.apply(admin.grant(ids["elsewhere"], "SqlRequest", databases=["Other"]))
        yield started


@pytest.fixture
def place(cluster: LocalCluster) -> Iterator[Place]:
    asked: list[str] = []
    options = {**cluster.arm_options, "raw_request_hook": lambda request: asked.append(request.http_request.url)}
    with kqlmi.connect(
        cluster.url,
        token=cluster.token,
        resource_id=cluster.resource_id,
        arm_options=options,
        ingest_url=cluster.ingest_url,
        history=False,
    ) as session:
        session.connection = counting = Counting(session.connection)
        yield Place(cluster, session, counting, asked)


@pytest.fixture
def alone(cluster: LocalCluster) -> Iterator[Place]:
    """A session without access to Azure Resource Manager."""
    with kqlmi.connect(cluster.url, token=cluster.token, history=False) as session:
        session.connection = counting = Counting(session.connection)
        yield Place(cluster, session, counting, [])


def ids(cluster: LocalCluster, name: str) -> dict[str, str]:
    one = next(one for one in cluster.identities if one.display_name == name)
    resource = f"{cluster.resource_id.partition('/providers/')[0]}/providers/Microsoft.ManagedIdentity"
    return {
        "name": name.upper(),
        "object ID": one.object_id,
        "object ID in capitals": one.object_id.upper(),
        "client ID": one.client_id.upper(),
        "resource ID": f"{resource}/userAssignedIdentities/{name}",
    }


HUB = "/subscriptions/s/resourceGroups/g/providers/Microsoft.EventHub/namespaces/n/eventhubs/h"


def granted(session: Session, name: str) -> str:
    return session.grant(name, "ExternalTable", databases=["Samples"]).changes[0].identity


def replaced(session: Session, name: str) -> str:
    changes = session.replace("exporter", name).changes
    return next(one.identity for one in changes if one.kind == "grant")


def refused_access(session: Session, name: str) -> None:
    assert session.access(name, "ExternalTable", database="Samples").allowed is False


def refused_ingestion(session: Session, name: str) -> str:
    """Return the ID of an identity that may not ingest, which is known to be assigned, and which no policy names."""
    with pytest.raises(InputError) as caught:
        session.ingest("https://a.blob.core.windows.net/c/x.csv", "T", identity=name, database="Samples")
    found = re.fullmatch(r".*\((.*)\) may not be used for NativeIngestion.*", caught.value.message)
    if found is None:
        raise caught.value
    return found[1]


def written(session: Session, name: str) -> None:
    text = session.new("update_policy", identity=name, database="Samples", table="T", source="T").text
    assert "ManagedIdentity" in text


def streamed(session: Session, name: str) -> str:
    return session.connect_eventhub("c", hub=HUB, table="T", identity=name, database="Samples").identity.object_id


def ticked(session: Session, name: str) -> str:
    panel = Panel(session, SAMPLES)
    panel.tick(name, "SqlRequest")
    assert panel.add(name) == panel.plan.changes[0].identity
    return panel.plan.changes[0].identity


VERBS: dict[str, Callable[[Session, str], str | None]] = {
    "identity": lambda session, name: session.identity(name),
    "grant": granted,
    "revoke": lambda session, name: session.revoke(name, "ExternalTable", databases=["Samples"]).undoes or None,
    "replace": replaced,
    "access": refused_access,
    "new": written,
    "ingest": refused_ingestion,
    "eventhub": streamed,
    "assign": lambda session, name: session.assign(name).identity.object_id,
    "unassign": lambda session, name: session.unassign(name).identity.object_id,
    "panel": ticked,
}


@pytest.mark.parametrize("kind", ["name", "object ID", "object ID in capitals", "client ID", "resource ID"])
@pytest.mark.parametrize("verb", list(VERBS))
def test_an_identity_that_was_just_assigned_is_known_by_each_of_its_names(place: Place, verb: str, kind: str) -> None:
    place.session.assign("loader")
    wanted = ids(place.cluster, "loader")
    assert VERBS[verb](place.session, wanted[kind]) in {wanted["object ID"], None}


@pytest.mark.parametrize(
    ("name", "policies", "azure"),
    [
        # These need no request.
        ("11111111-2222-4333-8444-555555555555", set(), 0),
        ("11111111-2222-4333-8444-ABCDEFABCDEF", set(), 0),
        ("system", set(), 0),
        ("System", set(), 0),
        # Azure Resource Manager is read before the policies.
        ("loader", set(), 1),
        ("exporter", set(), 1),
        ("nobody", {"cluster", "Samples", "Other", "Third"}, 1),
    ],
)
def test_only_the_requests_that_resolve_an_identity_are_sent(
    place: Place, name: str, policies: set[str], azure: int
) -> None:
    if name == "nobody":
        with pytest.raises(InputError, match="nor assigned"):
            place.session.identity(name)
    else:
        place.session.identity(name)
    assert place.counts() == (dict.fromkeys(policies, 1), azure)
    if name != "nobody":
        place.session.identity(name)
        assert place.counts() == ({}, 0)


@pytest.mark.parametrize(
    ("name", "policies"),
    [
        ("system", {"Samples"}),
        ("11111111-2222-4333-8444-555555555555", {"Samples"}),
        # In the policy that is changed first, then in any.
        ("exporter", {"Samples"}),
        ("elsewhere", {"Samples", "cluster", "Other", "Third"}),
    ],
)
def test_without_azure_the_policies_in_question_are_read_before_all(
    alone: Place, name: str, policies: set[str]
) -> None:
    for verb in ("grant", "revoke"):
        with kqlmi.connect(alone.cluster.url, token=alone.cluster.token, history=False) as session:
            session.connection = counting = Counting(session.connection)
            getattr(session, verb)(name, "AzureAI", databases=["Samples"])
            assert counting.policies == dict.fromkeys(policies, 1)
            getattr(session, verb)(name, "AzureAI", databases=["Samples"])
            assert counting.policies == {one: 1 + (one == "Samples") for one in policies}


@pytest.mark.parametrize(
    ("call", "policies"),
    [
        (lambda session: session.grant("loader", "All", databases=["Samples", "Third"]), {"Samples", "Third"}),
        (lambda session: session.access("loader", "All", database="Samples"), {"cluster", "Samples"}),
        (lambda session: session.access("loader", "All"), {"cluster"}),
        (lambda session: session.replace("exporter", "loader"), {"cluster", "Samples", "Other", "Third"}),
    ],
)
def test_each_policy_in_question_is_read_once(place: Place, call: Callable[[Session], Any], policies: set[str]) -> None:
    call(place.session)
    assert place.counts() == (dict.fromkeys(policies, 1), 1)


def test_a_client_id_in_a_text_is_answered_with_the_object_id(place: Place) -> None:
    wanted = ids(place.cluster, "exporter")
    text = (
        f"externaldata (x: string) [h'https://a.blob.core.windows.net/c/x.csv;managed_identity={wanted['client ID']}']"
    )
    [verdict] = place.session.check(text, "Samples")
    assert verdict.access.allowed is False
    assert f"client ID of exporter ({wanted['object ID']})" in verdict.access.reason
    # The policy, which is read anyway, shows it.
    assert place.counts() == ({"cluster": 1, "Samples": 1}, 0)


@pytest.mark.parametrize("text", ["system_assigned", "SystemAssigned", "[system]"])
@pytest.mark.parametrize("verb", list(VERBS))
def test_other_words_for_the_system_identity_get_a_suggestion(place: Place, verb: str, text: str) -> None:
    with pytest.raises((InputError, PolicyError)) as caught:
        VERBS[verb](place.session, text)
    assert "Did you mean system?" in str(caught.value)


def test_two_identities_of_one_name_are_refused_with_both(place: Place) -> None:
    again = "99999999-2222-4333-8444-555555555555"
    place.session.know(place.session.known.directory.learning([kqlmi.Identity(ObjectId(again), "Loader")]))
    place.session.assigned()
    for verb in ("identity", "grant", "revoke", "replace", "access"):
        with pytest.raises(InputError) as caught:
            VERBS[verb](place.session, "loader")
        for part in (again, ids(place.cluster, "loader")["object ID"], "/userAssignedIdentities/loader"):
            assert part in str(caught.value)


def test_a_client_id_is_known_from_the_policy_that_is_read_for_the_change(alone: Place) -> None:
    wanted = ids(alone.cluster, "exporter")
    for text in (wanted["client ID"], wanted["client ID"].lower()):
        [change] = alone.session.grant(text, "AzureAI", databases=["Samples"]).changes
        assert change.identity == wanted["object ID"]
        assert alone.counts() == ({"Samples": 1}, 0)
