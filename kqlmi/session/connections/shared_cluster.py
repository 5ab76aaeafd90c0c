"""A local cluster that was started for a session, and that a session in its place may keep."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kqlmi.local.cluster import LocalCluster


class SharedCluster:
    """A local cluster as a context of each session that uses it; it stops when the last of them is closed."""

    def __init__(self, cluster: "LocalCluster") -> None:
        """Take a cluster that runs, and that no session uses yet."""
        self._cluster, self._users = cluster, 0

    def __enter__(self) -> "LocalCluster":
        self._users += 1
        return self._cluster

    def __exit__(self, *_error: object) -> None:
        """Stop the cluster, unless another session uses it."""
        self._users -= 1
        if not self._users:
            self._cluster.stop()
