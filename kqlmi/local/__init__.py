"""A local cluster that speaks the Kusto protocol on loopback and enforces the ManagedIdentity policy."""

from collections.abc import Iterable
from contextlib import ExitStack, closing
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from kqlmi.errors import InputError, MissingExtraError
from kqlmi.local.values.identities import Identity

if TYPE_CHECKING:
    from os import PathLike

    from kqlmi.local.cluster import LocalCluster
    from kqlmi.local.runtime import Running
    from kqlmi.local.state.persistence import Store
    from kqlmi.local.state.state import State

__all__ = ["Identity", "find", "serve", "start"]


def start(
    *,
    databases: Iterable[str] | None = None,
    identities: Iterable[str | Identity] | None = None,
    usages: Iterable[str] = (),
    port: int = 0,
    path: "str | PathLike[str] | None" = None,
) -> "LocalCluster":
    """Start a cluster in this process, and return it. Use it in a ``with`` statement, or call its ``stop`` method.

    Without arguments, it contains a small sample world, including a container of files.

    Args:
        databases: The names of empty databases without a policy, instead of the sample world.
        identities: The managed identities assigned to the cluster, by name or as ``Identity``; ``system`` is the cluster's own.
        usages: The usages that the cluster knows beyond the ten documented ones.
        port: The port of the query endpoint; 0 lets the system choose.
        path: A folder for the state, which only this user can read; an existing state is reopened. If the process is
            killed, it contains the state before or after a change, never a mixture. Without it, the state ends with the cluster.
    """
    if not all(find_spec(module) for module in ("duckdb", "duckdb_kql", "re2", "tornado")):
        raise MissingExtraError("The local cluster is not installed.", hint="Run: pip install 'kqlmi[local]'")
    from kqlmi.local import world  # heavy
    from kqlmi.local.cluster import LocalCluster  # heavy

    given = [name for name, one in {"databases": databases, "identities": identities, "usages": usages}.items() if one]
    state = world.build(databases, identities, usages)
    store = folder = None
    with ExitStack() as opened:
        if path is not None:
            from kqlmi.local.state.persistence import Store  # seldom needed

            store = opened.enter_context(closing(Store(Path(path).resolve())))
            _open(store, state, given, is_sample=databases is None)
        elif databases is None:
            folder = TemporaryDirectory(prefix="kqlmi-local-", ignore_cleanup_errors=True)
            opened.callback(folder.cleanup)
            world.furnish(state, Path(folder.name))
        cluster = LocalCluster(state, port, folder, store)
        opened.pop_all()  # the cluster closes them
        return cluster


def _open(store: "Store", state: "State", given: list[str], *, is_sample: bool) -> None:
    """Restore the state saved in a folder, or save a new one there."""
    from kqlmi.local import world  # heavy

    if store.exists and given:
        raise InputError(
            f"The folder {store.folder} already contains a cluster, so {given[0]} cannot be specified.",
            hint="Pass only path to open that cluster, or use another folder.",
        )
    if store.exists:
        store.restore(state)
        return
    if is_sample:
        folder = store.folder / "landing"
        folder.mkdir(mode=0o700, exist_ok=True)
        world.furnish(state, folder)
    store.save(state)


def find() -> "Running | None":
    """Return the cluster of a running ``kqlmi local serve``, or None."""
    from kqlmi.local import runtime  # seldom needed

    return runtime.find()


def serve(*, port: int = 0) -> None:
    """Run a cluster until it is interrupted; its URL and token are written to a file that only this user can read."""
    from kqlmi.local import runtime  # seldom needed

    runtime.serve(lambda: start(port=port))
