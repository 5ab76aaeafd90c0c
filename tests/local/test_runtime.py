import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import kqlmi
from kqlmi import local
from kqlmi.errors import InputError
from kqlmi.local import runtime
from kqlmi.local.cluster import LocalCluster


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    target = tmp_path / "runtime" / "local-cluster.json"
    monkeypatch.setattr(runtime, "path", lambda: target)
    return target


def written(file: Path, content: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(content, encoding="utf-8")
    file.chmod(0o600)


def test_a_running_cluster_is_found(file: Path, world: LocalCluster) -> None:
    runtime._write(world)
    found = local.find()
    assert found is not None
    assert (found.url, found.token, found.resource_id) == (world.url, world.token, world.resource_id)
    assert not {found.token, found.arm_token} & set(repr(found).split("'"))
    if os.name == "posix":
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.parent.stat().st_mode & 0o777 == 0o700
    assert [*file.parent.iterdir()] == [file]


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "{}", '{"url": 1, "token": 2}', "[" * 100_000, '{"url": "http://evil.example", "token": "x"}'),
        '{"url": "http://127.0.0.1:1", "token": "x", "ingest_url": "http://evil.example"}',
        '{"url": "http://127.0.0.1:1", "token": "PLANTED", "another": "field"}',
    ],
    ids=range(9),
)
def test_a_file_that_serve_did_not_write_is_refused_in_one_sentence(file: Path, content: str) -> None:
    written(file, content)
    refusal = refused()
    assert "was not written by kqlmi local serve" in str(refusal)
    assert "PLANTED" not in str(refusal)


def refused() -> InputError:
    """Find a cluster, connect to it and serve one, all of which must be refused; return the last error."""
    for act in (local.find, lambda: kqlmi.connect("local"), local.serve):
        with pytest.raises(InputError, match=r"local-cluster\.json") as caught:
            act()
        assert caught.value.hint
        assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.skipif(os.name != "posix", reason="needs owners, modes and links")
@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("link", "is a link"),
        ("dangling link", "is a link"),
        ("folder", "is not a regular file"),
        ("pipe", "is not a regular file"),
        ("readable", "can be read or written by other users"),
        ("writable", "can be read or written by other users"),
        ("foreign", "belongs to another user"),
    ],
)
def test_a_file_that_another_user_could_have_written_is_refused(
    file: Path, world: LocalCluster, monkeypatch: pytest.MonkeyPatch, what: str, why: str
) -> None:
    runtime._write(world)
    if "link" in what or what in {"folder", "pipe"}:
        file.rename(file.with_name("other"))
    match what:
        case "link":
            file.symlink_to(file.with_name("other"))
        case "dangling link":
            file.symlink_to(file.with_name("nothing"))
        case "folder":
            file.mkdir()
        case "pipe":
            os.mkfifo(file)
        case "readable":
            file.chmod(0o640)
        case "writable":
            file.chmod(0o602)
        case _:
            monkeypatch.setattr(os, "getuid", lambda: file.stat().st_uid + 1)
    assert why in str(refused())


def test_a_stale_file_and_a_wrong_token_are_ignored(file: Path, world: LocalCluster) -> None:
    assert local.find() is None
    with local.start(databases=["D"]) as cluster:
        stale = json.dumps({"url": cluster.url, "token": cluster.token})
    written(file, stale)
    assert local.find() is None
    written(file, json.dumps({"url": world.url, "token": "wrong"}))
    assert local.find() is None


def test_serve_writes_the_file_prints_where_and_cleans_up(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, signal, sys, threading, time\n"
        "from kqlmi import local\n"
        "from kqlmi.local import runtime\n"
        "target = pathlib.Path(sys.argv[1]) / 'served' / 'file.json'\n"
        "runtime.path = lambda: target\n"
        "def end():\n"
        "    while not local.find():\n"
        "        time.sleep(0.05)\n"
        "    print('TOKEN', local.find().token, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        # A shell makes background processes ignore this signal.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "threading.Thread(target=end, daemon=True).start()\n"
        "local.serve()\n"
        "print('EXISTS', target.exists())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith("The local cluster is running at http://127.0.0.1:")
    assert "file.json" in lines[1]
    token = lines[2].removeprefix("TOKEN ")
    assert lines[3] == "EXISTS False"
    assert token not in lines[0] + lines[1] + done.stderr


def test_a_second_cluster_is_refused_and_leaves_the_file_of_the_first(file: Path, world: LocalCluster) -> None:
    runtime._write(world)
    with pytest.raises(InputError, match=f"A local cluster is already running at {world.url}.") as refused:
        local.serve()
    assert refused.value.hint == "Connect to it with %kqlmi connect local, or stop it first."
    assert json.loads(file.read_text(encoding="utf-8"))["token"] == world.token


@pytest.mark.parametrize("port", [-1, 65_536, 10**9])
def test_a_port_that_does_not_exist_is_refused(file: Path, port: int) -> None:
    with pytest.raises(InputError, match=f"The port {port} does not exist") as refused:
        local.serve(port=port)
    assert refused.value.hint
    assert not file.exists()


def test_a_busy_port_is_refused(file: Path, world: LocalCluster) -> None:
    with pytest.raises(InputError, match="cannot be used") as refused:
        local.serve(port=int(world.url.rpartition(":")[2]))
    assert refused.value.hint
    assert not file.exists()


def test_a_runtime_folder_that_cannot_be_written_is_refused(file: Path) -> None:
    file.parent.write_text("a file where the folder should be", encoding="utf-8")
    with pytest.raises(InputError, match="Cannot write") as refused:
        local.serve()
    assert "XDG_RUNTIME_DIR" in refused.value.hint


@pytest.mark.usefixtures("file")
def test_a_session_that_joins_knows_the_assigned_identities(world: LocalCluster) -> None:
    runtime._write(world)
    with kqlmi.connect("local") as session:
        assert {one.principal_id or one.object_id for one in session.assigned()} == {
            one.object_id for one in world.identities
        }


def test_a_fresh_cluster_is_started_although_one_is_served(file: Path, world: LocalCluster) -> None:
    runtime._write(world)
    with kqlmi.connect("local") as joined, kqlmi.connect("local", fresh=True) as own:
        assert joined.target
        assert own.target
        assert joined.target.query_url == world.url != own.target.query_url
    assert file.exists()
