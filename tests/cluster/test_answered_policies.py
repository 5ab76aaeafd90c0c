"""Tests that an answer is read as the policy of a scope only if it has a documented form and names that scope."""

from dataclasses import dataclass
from typing import Any

import pytest

from kqlmi.cluster.answer_subjects import UnknownNameWarning
from kqlmi.cluster.policies import read_policy, written_policy
from kqlmi.cluster.protocol.table import Column, Table
from kqlmi.errors import AnswerError
from kqlmi.model.entities import Scope
from kqlmi.model.policy.policy import Policy

SALES, CLUSTER = Scope.database("Sales"), Scope.cluster()
FIVE = ("PolicyName", "EntityName", "Policy", "ChildEntities", "EntityType")
TWO = ("EntityName", "Policies")
EMPTY = Policy.empty()


def table(columns: tuple[str, ...], *rows: Any) -> Table:
    return Table(tuple(Column.of(name, "string") for name in columns), rows)


def five(entity: str, kind: str, policy: Any = "[]", name: str = "ManagedIdentityPolicy") -> Table:
    return table(FIVE, (name, entity, policy, "[]", kind))


@dataclass
class Answering:
    """A cluster with two databases, one with a pretty name, that answers any policy command with the given table."""

    answer: Table

    def execute(
        self, text: str, database: str | None = None, *, timeout: float | None = None, client_request_id: str = ""
    ) -> Table:
        _ = (database, timeout, client_request_id)
        if text == ".show databases":
            return table(("DatabaseName", "PrettyName"), ("Sales", "Sold things"), ("Other", ""))
        return self.answer

    def close(self) -> None:
        """Do nothing."""


GOOD = [
    (SALES, five("[Sales]", "Database")),
    (SALES, five("Sales", "Database")),
    (SALES, five("['sales']", "")),
    (SALES, five('["SALES"]', "database", name="")),
    (SALES, table(TWO, ("[Sales]", "[]"))),
    (SALES, table(TWO, ("Sales", "[]"))),
    (CLUSTER, five("", "Cluster")),
    (CLUSTER, table(TWO, ("", "[]"))),
    (CLUSTER, table(TWO, (None, "[]"))),
    (Scope.database("[odd]"), five("[odd]", "Database")),
    (Scope.database("'odd'"), five("['odd']", "Database")),
]


@pytest.mark.parametrize(("scope", "answer"), GOOD)
def test_every_documented_form_is_read(scope: Scope, answer: Table) -> None:
    assert read_policy(Answering(answer), scope) == written_policy(answer, scope) == EMPTY


@pytest.mark.parametrize("policy", [None, "", "null", " null "])
def test_no_policy_is_an_answer_and_no_row_is_not(policy: str | None) -> None:
    assert read_policy(Answering(five("[Sales]", "Database", policy)), SALES) is None
    with pytest.raises(AnswerError, match="0 rows"):
        read_policy(Answering(table(FIVE)), SALES)


OF_NOTHING = [
    table(FIVE),
    table(TWO, ("[Sales]", "[]"), ("[Sales]", "[]")),
    table(("TableName", "Folder"), ("T", "")),
    table(("EntityName",), ("[Sales]",)),
    five("[Sales]", "Database", 7),
    five("[Sales]", "Database", "[{"),
    five("[Sales]", "Database", '{"ObjectId": "system"}'),
    five("[Sales]", "Database", '[{"ObjectId": 1}]'),
]
OF_ANOTHER = [
    five("[Other]", "Database"),
    five("OTHER", ""),
    five("", "Cluster"),
    five("[Sales]", "Database", "null", "CachingPolicy"),
    five("[Sales]", "Database", "null", "streaming_ingestion"),
    table(TWO, ("['Other']", "[]")),
]


@pytest.mark.parametrize("answer", OF_NOTHING + OF_ANOTHER)
def test_an_invalid_answer_or_one_about_another_scope_is_not_believed(answer: Table) -> None:
    with pytest.raises(AnswerError, match="Cannot read the policy of the database Sales"):
        read_policy(Answering(answer), SALES)
    with pytest.raises(AnswerError):
        written_policy(answer, SALES)


@pytest.mark.parametrize("answer", [five("[Sales]", "Database"), five("Sales", ""), five("", "Database")])
def test_an_answer_about_a_database_is_not_one_about_the_cluster(answer: Table) -> None:
    with pytest.raises(AnswerError, match="Cannot read the policy of the cluster"):
        read_policy(Answering(answer), CLUSTER)


@pytest.mark.parametrize("entity", ["https://there/Sales", "[c].[Sales]"])
def test_an_unknown_form_is_noted_and_read_but_does_not_answer_a_write(entity: str) -> None:
    answer = five(entity, "Database")
    with pytest.warns(UnknownNameWarning, match="which kqlmi does not recognise"):
        assert read_policy(Answering(answer), SALES) == EMPTY
    with pytest.raises(AnswerError):
        written_policy(answer, SALES)


def test_a_scope_that_is_named_by_its_pretty_name_is_the_database() -> None:
    assert read_policy(Answering(five("[Sales]", "Database")), Scope.database("sold things")) == EMPTY
