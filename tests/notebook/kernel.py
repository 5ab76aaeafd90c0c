"""A kernel in its own process, in which panels are opened as in a notebook, and its memory."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import kqlmi
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.usages import USAGES

SETUP = """
import gc, os, psutil
%load_ext kqlmi
os.environ["KQLMI_TOKEN"] = {token!r}
%kqlmi connect {url} --auth token
"""
# Everything that a panel does: read all policies, and show a plan.
USED = """
panel = _
while panel.read_more():
    pass
panel.tick(panel.identities[1][0], "AzureAI")
panel.show(panel.plan)
panel.choose(None)
"""
MEMORY = """
gc.collect()
print(psutil.Process().memory_info().rss)
"""


class Kernel:
    """A kernel that runs cells and returns what they print."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def run(self, code: str, *, cell: str = "") -> str:
        """Run a cell with the given cell ID, as a front end does."""
        session, printed = self._client.session, []
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": True}
        message = session.msg("execute_request", content, metadata={"cellId": cell} if cell else {})
        self._client.shell_channel.send(message)
        while True:
            reply = self._client.get_iopub_msg(timeout=120)
            if reply["parent_header"].get("msg_id") != message["header"]["msg_id"]:
                continue
            match reply["msg_type"], reply["content"]:
                case "stream", {"text": text}:
                    printed.append(text)
                case "error", {"traceback": lines}:
                    raise AssertionError("\n".join(lines))
                case "status", {"execution_state": "idle"}:
                    return "".join(printed)

    @property
    def mebibytes(self) -> float:
        """Its resident memory after a garbage collection."""
        return int(self.run(MEMORY)) / 2**20

    def open_panel(self, cell: str) -> None:
        """Open a panel in a cell, use all its functions, and keep it in the variable ``panel``."""
        self.run("%kqlmi panel", cell=cell)
        self.run(USED)


@contextmanager
def connected_kernel(cluster: LocalCluster) -> Iterator[Kernel]:
    """Start a kernel that is connected to a cluster."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3")
    try:
        kernel = Kernel(client)
        kernel.run(SETUP.format(url=cluster.url, token=cluster.token))
        yield kernel
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def filled(databases: int, identities: int) -> LocalCluster:
    """Start a cluster with every identity in the policy of every database, and in that of the cluster."""
    names = [f"Database {n:03}" for n in range(databases)]
    cluster = kqlmi.local.start(databases=names, identities=[f"identity {n:04}" for n in range(identities)])
    usages = [usage.name for usage in USAGES[:-1]]
    with kqlmi.connect(cluster.url, token=cluster.token, history=False) as session:
        for shift, scope in enumerate(["cluster", *(f"database ['{name}']" for name in names)]):
            entries = [
                {"ObjectId": one.object_id, "AllowedUsages": ", ".join(usages[(n + shift + k) % 9] for k in range(2))}
                for n, one in enumerate(cluster.identities)
            ]
            session.run(f".alter {scope} policy managed_identity '{json.dumps(entries)}'", names[0])
    return cluster
