"""The only access to the files of a container: locations, opened with a check of permissions."""

import os
from dataclasses import dataclass
from pathlib import Path

from kqlmi.local import enforce
from kqlmi.local.enforce import Use
from kqlmi.local.engine import lanes
from kqlmi.local.state import azureroles
from kqlmi.local.state.azureroles import READERS, WRITERS
from kqlmi.local.state.state import State
from kqlmi.local.storage.files import DRAFT
from kqlmi.local.values import connectionstrings
from kqlmi.local.values.connectionstrings import Location
from kqlmi.local.values.faults import bad_request


@dataclass(frozen=True)
class Opened:
    """A location whose use is permitted: ``path`` is a file or folder in ``root``, the folder of its container."""

    location: Location
    root: Path
    path: Path

    def blobs(self) -> list[Location]:
        """Return the blob at the location, or the blobs in the folder at the location, ordered by path."""
        if self.path.is_file():
            return [self.location]
        found = (Path(folder, name) for folder, _, names in os.walk(self.path) for name in names)  # ignores links
        files = (one for one in found if not one.name.startswith(DRAFT) and one.is_file() and not one.is_symlink())
        paths = sorted(one.relative_to(self.root).as_posix() for one in files)
        return [self.location.blob(connectionstrings.checked_path(path)) for path in paths]


def open_location(state: State, location: Location, use: Use, *, writes: bool = False) -> Opened:
    """Open a location for a use; every access to stored files goes through this function, which checks the permissions.

    The ManagedIdentity policy, the callout policy and the Azure role of the principal that opens it must all permit it.
    """
    lanes.require_long()
    who, object_id, name = _opener(state, location, use)
    enforce.permit_callout(state, use, location.url)
    root = state.world.containers.get((location.account, location.container))
    if location.is_onelake:
        raise bad_request(f"the local cluster does not support data in OneLake, such as {location.root}")
    if root is None:
        raise bad_request(f"the local cluster has no container {location.root}; add it with cluster.add_storage")
    roles = WRITERS if writes else READERS
    if not state.world.azure_roles.holds(object_id, azureroles.container_scope(location), roles):
        raise enforce.refuse_role(use, who, name, roles=roles, url=location.root)
    try:
        path = (root / location.path).resolve()
    except (OSError, RuntimeError):  # a circular link
        path = root.parent
    if not path.is_relative_to(root):  # a link that leads out of the folder
        raise bad_request(f"the local cluster's storage has no blob {location.url}")
    return Opened(location, root, path)


def _opener(state: State, location: Location, use: Use) -> tuple[str, str, str]:
    if location.identity:
        identity = enforce.permit(state, use, location.identity)
        return identity.object_id, identity.object_id, f"the managed identity '{identity.display_name}'"
    if not location.impersonates:
        raise bad_request(f"{location.url} has no authentication; add ';managed_identity=…' or ';impersonate'")
    if use.principal is None:
        raise bad_request(
            f"{location.url} cannot use ';impersonate', as this flow runs without a caller; use ';managed_identity=…'"
        )
    return "", use.principal.object_id, f"'{use.principal.display_name}'"
