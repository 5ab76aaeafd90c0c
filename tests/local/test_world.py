import json
from typing import Any

import pytest

from kqlmi import local


def test_the_sample_world_has_something_of_everything(world: Any, reader: Any) -> None:
    assert [one.is_system for one in world.identities] == [True, False, False, False]
    names = [row["DatabaseName"] for row in reader.mgmt(".show databases")]
    assert len(names) == 4
    assert any(" " in name for name in names)
    policies = {name: json.loads(reader.policy(f"database ['{name}']")) for name in names}
    assert None in policies.values()
    usages = [entry["AllowedUsages"] for policy in policies.values() for entry in policy or []]
    assert "All" in usages
    assert "SandboxArtifacts" in reader.policy()
    for name in names:
        for row in reader.mgmt(".show tables", name):
            assert reader.query(f"['{row['TableName']}'] | count", name)[0]["Count"] > 0


def test_the_sample_world_has_the_same_ids_at_every_start(world: Any, reader: Any, connect: Any) -> None:
    with local.start() as again:
        assert again.identities == world.identities
        assert again.token != world.token
        assert connect(again).mgmt(".show databases | project DatabaseId") == reader.mgmt(
            ".show databases | project DatabaseId"
        )


def test_databases_that_are_given_start_without_policy_and_tables(connect: Any) -> None:
    given = local.Identity("mine", is_system=True)
    with local.start(databases=["D"], identities=[given, "loader"]) as cluster:
        assert cluster.identities[0] is given
        assert cluster.identities[1].display_name == "loader"
        client = connect(cluster)
        assert client.policy() == client.policy("database D") == "null"
        assert client.mgmt(".show tables", "D") == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"databases": ["a", "A"]},
        {"databases": [""]},
        {"identities": ["system", "system"]},
        {"identities": [local.Identity("a", "same"), local.Identity("b", "SAME")]},
        {"usages": ["a,b"]},
        {"usages": [" "]},
    ],
)
def test_what_cannot_be_told_apart_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        local.start(**wrong)
