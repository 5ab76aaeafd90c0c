"""A local cluster: it speaks the Kusto protocol on loopback and enforces the ManagedIdentity policy."""

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
    """Start a cluster in this process; use it in a ``with`` statement, or call its ``stop``.

    Without arguments it holds a small sample world, with a container of files. ``databases`` names empty databases without a policy instead;
    ``identities`` are the managed identities that are assigned to it, names or ``Identity`` values, ``system`` being
    the cluster's own; ``usages`` are those that it knows beyond the documented ten. Port 0 lets the system choose.
    ``path`` is a folder that keeps the state: what is there already is opened again, and after a kill at any moment it
    holds the state before a change or the one after it. Only this user may read it. Without ``path`` the state ends with
    the cluster.
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
    """Restore a state from what a folder keeps, or let the folder keep a new one."""
    from kqlmi.local import world  # heavy

    if store.exists and given:
        raise InputError(
            f"The folder {store.folder} holds a cluster already, and {given[0]} would start another.",
            hint="Start with the path alone, or with another one.",
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
    """Return a running ``kqlmi local serve``, or None."""
    from kqlmi.local import runtime  # seldom needed

    return runtime.find()


def serve(*, port: int = 0) -> None:
    """Run a cluster until it is interrupted; its URL and token are in a file that only this user can read."""
    from kqlmi.local import runtime  # seldom needed

    runtime.serve(lambda: start(port=port))
