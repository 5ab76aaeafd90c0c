"""Storage accounts: containers that are folders of this machine, and who holds which Azure role on them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kqlmi.local import connectionstrings, enforce
from kqlmi.local.connectionstrings import Location
from kqlmi.local.enforce import Use
from kqlmi.local.faults import bad_request

if TYPE_CHECKING:
    from kqlmi.local.state import State

READERS = ("Storage Blob Data Reader", "Storage Blob Data Contributor", "Storage Blob Data Owner")
WRITERS = READERS[1:]
# Documented as not enough: they manage the account and do not open its data.
MANAGERS = ("Owner", "Contributor", "Reader")


@dataclass(frozen=True)
class Storage:
    """What exists, and who may open it; a container's key is (account, container), a role's is its scope."""

    containers: Mapping[tuple[str, str], Path] = field(default_factory=dict)
    roles: frozenset[tuple[str, tuple[str, str], str]] = frozenset()

    def with_container(self, url: str, folder: Path) -> "Storage":
        """Give the storage with a container that a folder backs."""
        return replace(self, containers={**self.containers, _key(url): folder.resolve(strict=True)})

    def with_role(self, object_id: str, url: str, role: str) -> "Storage":
        """Give the storage with a role assigned to a principal on a container."""
        if role not in {*READERS, *MANAGERS}:
            raise bad_request(f"'{role}' is no role that the local cluster's storage knows: {', '.join(READERS)}")
        return replace(self, roles=self.roles | {(object_id.strip().lower(), _key(url), role)})

    def without_role(self, object_id: str, url: str, role: str) -> "Storage":
        """Give the storage without a role of a principal on a container."""
        return replace(self, roles=self.roles - {(object_id.strip().lower(), _key(url), role)})

    def grants(self, object_id: str, location: Location, roles: tuple[str, ...]) -> bool:
        """Tell whether a principal holds one of some roles on a container."""
        key = (location.account, location.container)
        return any((object_id.lower(), key, role) in self.roles for role in roles)


@dataclass(frozen=True)
class Opened:
    """A location that may be used; ``root`` is the folder of its container, ``path`` the file or folder it names."""

    location: Location
    root: Path
    path: Path

    def blobs(self) -> list[Location]:
        """Give the blob that the location names, or those of the folder that it names, in order of their names."""
        if self.path.is_file():
            return [self.location]
        found = (
            Path(folder, name).relative_to(self.root).as_posix()
            for folder, _, names in os.walk(self.path)  # follows no links
            for name in names
            if not Path(folder, name).is_symlink()
        )
        return [self.location.blob(path) for path in sorted(found)]


def open_location(state: "State", location: Location, use: Use, *, writes: bool = False) -> Opened:
    """Open a location for a use: the only function that gives a file of a store, and so the one that asks.

    The policy, the callout policy and the Azure role of whoever opens it must all allow it.
    """
    who, object_id, name = _opener(state, location, use)
    enforce.permit_callout(state, use, location.url)
    root = state.storage.containers.get((location.account, location.container))
    if root is None:
        raise bad_request(f"the local cluster has no container {location.root}; add it with cluster.add_storage")
    roles = WRITERS if writes else READERS
    if not state.storage.grants(object_id, location, roles):
        raise enforce.refuse_role(use, who, name, roles=roles, url=location.root)
    path = (root / location.path).resolve()
    if not path.is_relative_to(root):  # a link that leads out of the folder
        raise bad_request(f"the local cluster's storage has no blob {location.url}")
    return Opened(location, root, path)


def _opener(state: "State", location: Location, use: Use) -> tuple[str, str, str]:
    if location.identity:
        identity = enforce.permit(state, use, location.identity)
        return location.identity, identity.object_id, f"the managed identity '{identity.display_name}'"
    if not location.impersonates:
        raise bad_request(f"{location.url} names nobody who opens it; add ';managed_identity=…' or ';impersonate'")
    if use.principal is None:
        raise bad_request(f"nobody is there to impersonate for {location.url}; this flow needs a managed identity")
    return "", use.principal.object_id, f"'{use.principal.display_name}'"


def _key(url: str) -> tuple[str, str]:
    location = connectionstrings.parse(url)
    if location.path or location.shown != location.url:
        raise bad_request(f"{location.url} is no container; write https://<account>.blob.core.windows.net/<container>")
    return (location.account, location.container)
