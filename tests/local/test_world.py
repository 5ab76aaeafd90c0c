import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kqlmi import local
from kqlmi.errors import InputError
from kqlmi.local import world as world_module


def test_the_sample_world_has_every_kind_of_entity(world: Any, reader: Any) -> None:
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


def test_named_databases_start_without_policies_and_tables(connect: Any) -> None:
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
def test_names_that_cannot_be_distinguished_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        local.start(**wrong)


def test_the_sample_world_has_files_and_deletes_them_when_it_stops(connect: Any) -> None:
    blob = f"{world_module.CONTAINER}/storms/2007-10.csv"
    with local.start() as cluster:
        reader, folder = connect(cluster), (cluster._state.world.containers["kqlmisamples", "landing"])
        object_id = cluster.identities[1].object_id
        text = f"externaldata (t: datetime, s: string) [h'{blob};managed_identity={object_id}'] | count"
        assert reader.query(text, "Telemetry") == [{"Count": 3}]
        assert "Contributor" in str(cluster._state.world.azure_roles)
        assert folder.is_dir()
    assert not folder.exists()


def test_a_folder_or_role_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    url = "https://acct.blob.core.windows.net/data"
    with local.start(databases=["D"], identities=["mine"]) as cluster:
        for wrong, folder in ((url, tmp_path / "none"), (f"{url}/a.csv", tmp_path), ("https://a.example/b", tmp_path)):
            with pytest.raises(InputError):
                cluster.add_storage(wrong, folder)
        for wrong, role in ((url, "Storage Blob Data Wizard"), (f"{url};impersonate", "Storage Blob Data Reader")):
            with pytest.raises(InputError):
                cluster.assign_role("mine", wrong, role)
        cluster.add_storage(url, tmp_path)
        cluster.assign_role("mine", url, "Owner")
        cluster.unassign_role("mine", url, "Owner")
        assert cluster._state.world.azure_roles.assignments == frozenset()


def test_starting_loads_neither_the_engine_nor_pandas() -> None:
    code = (
        "import sys, kqlmi; kqlmi.local.start().stop(); print({'duckdb', 'duckdb_kql', 'pandas'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
