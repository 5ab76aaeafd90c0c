"""Tests that every value is one line at a prompt, whole as text, and escaped in HTML and Markdown."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from IPython.lib.pretty import pretty

import kqlmi
from kqlmi.apply import Applied
from kqlmi.cluster.connection import Target
from kqlmi.cluster.ingest import Ingestion
from kqlmi.cluster.policies import Policies
from kqlmi.cluster.protocol.table import Column, Table
from kqlmi.credentials.signin import SignIn
from kqlmi.history import Entry, Reading
from kqlmi.model import jsontext
from kqlmi.model.azure.identitylist import listed
from kqlmi.model.entities import Scope
from kqlmi.model.explain.explanation import Verdicts, judge
from kqlmi.model.plan.builder import make_plan
from kqlmi.model.plan.draft import Draft
from kqlmi.model.policy.access import Access
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.model.statement import Statement
from kqlmi.model.uses.blobs import Blob, blob
from kqlmi.report import Described
from kqlmi.session import Session
from kqlmi.session.listings import ConnectionList, IdentityList

HOSTILE = "<script>alert(1)</script>\n\x1b[31m`|" + "x" * 300
SECRET = "a-secret-token-of-the-caller"  # noqa: S105 - not a password
CODE = re.compile(r"(?s)(?<![`\\])(`+)(?!`).*?(?<!`)\1(?!`)")
ID = "11111111-2222-3333-4444-555555555555"


class NoConnection:
    """A connection that fails the test if anything is sent."""

    def execute(self, *_arguments: object, **_options: object) -> Table:
        pytest.fail("A request was sent.")

    def close(self) -> None:
        """Close nothing."""


def values() -> dict[str, object]:
    """Return a value of each kind, with names from a hostile cluster."""
    scope = Scope.database(HOSTILE)
    entry = {"ObjectId": ID, "AllowedUsages": "ExternalTable", "DisplayName": HOSTILE}
    policy = Policy.parse(jsontext.dump([entry])) or Policy.empty()
    snapshot = Snapshot({scope: policy})
    change = make_plan(snapshot, Snapshot({scope: None}), cluster=HOSTILE)
    target = Target("https://host.kusto.windows.net", SignIn("token", token=SECRET))
    session = Session(HOSTILE, NoConnection(), target=target, history=False)
    closed = Session(HOSTILE, NoConnection(), target=target, history=False)
    closed.close()
    statement = Statement.parse(
        ".ingest into table T (h'https://a.blob.core.windows.net/c/b.csv;managed_identity=system')"
    )
    record = Entry("1", datetime(2026, 1, 1, tzinfo=UTC), HOSTILE, HOSTILE, HOSTILE, "plan", ())
    return {
        "table": Table((Column(HOSTILE, "string"),), [[HOSTILE]] * 30),
        "policy": policy,
        "snapshot": snapshot,
        "policies": Policies(snapshot, {}),
        "access": Access(allowed=False, reason=HOSTILE),
        "plan": change,
        "applied": Applied(change),
        "identities": IdentityList(listed(snapshot, None), (HOSTILE,)),
        "connections": ConnectionList((), (HOSTILE,)),
        "verdicts": Verdicts(judge(one, snapshot, HOSTILE) for one in statement.references),
        "history": Reading((record,)),
        "entry": record,
        "ingestion": Ingestion(Blob("https://a.blob.core.windows.net/c/b"), HOSTILE, HOSTILE, "1", outcome="succeeded"),
        "draft": Draft.start(snapshot, scope),
        "session": session,
        "closed session": closed,
    }


NAMES = list(values())


def test_the_verdicts_are_not_empty() -> None:
    assert repr(values()["verdicts"]) == "<Verdicts: 1 use of an identity: 0 allowed>"


@pytest.mark.parametrize("name", NAMES)
def test_a_value_is_one_short_line_at_a_prompt(name: str) -> None:
    value = values()[name]
    for line in (repr(value), pretty(value)):
        assert line.isprintable()
        assert len(line) < 120
        assert SECRET not in line
    assert len(repr([value])) < 125


@pytest.mark.parametrize("name", [name for name in NAMES if isinstance(values()[name], Described)])
def test_a_value_is_escaped_in_html_and_markdown_and_inert_as_text(name: str) -> None:
    value = values()[name]
    assert isinstance(value, Described)
    html, markdown, text = value._repr_html_(), value._repr_markdown_(), str(value)
    assert "<script" not in html
    assert not re.search(r"(?<!\\)<script", CODE.sub("", markdown))
    for shown in (html, markdown, text):
        assert "\x1b" not in shown
        assert SECRET not in shown


def test_the_text_of_a_policy_and_of_a_list_of_identities_is_whole() -> None:
    found = values()
    for name in ("policy", "identities", "plan"):
        assert ID in str(found[name])


def test_a_table_shows_its_first_rows_and_the_number_of_all() -> None:
    table = Table((Column("a", "long"),), [[number] for number in range(1204)])
    assert repr(table) == "<Table: 1,204 rows, 1 column>"
    assert "The first 20 of 1,204 rows" in str(table)
    assert "<td>19</td>" in table._repr_html_()
    assert "<td>20</td>" not in table._repr_html_()


def test_only_the_public_names_are_listed() -> None:
    assert [name for name in dir(kqlmi) if not name.startswith("__")] == sorted(kqlmi.__all__)


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        ("queued", "Queued; the result was not awaited."),
        ("succeeded", "Ingested into Samples.R, operation op."),
        ("failed", "Not ingested into Samples.R: Download_Forbidden. The storage refused."),
        ("unknown", "Not known whether the blob was ingested into Samples.R, source ID id."),
    ],
)
def test_an_ingestion_is_called_done_only_if_the_cluster_reported_that(outcome: Any, says: str) -> None:
    order = Ingestion(blob("https://acct.blob.core.windows.net/c/a.csv"), "Samples", "R", "id")
    report = {"OperationId": "op", "ErrorCode": "Download_Forbidden", "Details": "The storage refused."}
    assert str(order.reported(outcome, report)) == says
    assert says[:30] in repr(order.reported(outcome, report))
