"""The containers of the storage accounts, as folders of this machine."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kqlmi.local.state import azureroles
from kqlmi.local.values.faults import bad_request

_GLOB = re.compile(r"[*?\[\]]")


@dataclass(frozen=True)
class Storage:
    """The containers that exist, as folders; a key is (account, container)."""

    containers: Mapping[tuple[str, str], Path] = field(default_factory=dict)

    def with_container(self, url: str, folder: Path) -> "Storage":
        """Return the storage with a container that a folder backs."""
        location = azureroles.container(url)
        place = (location.account, location.container)
        if _GLOB.search(str(folder.resolve())):
            raise bad_request(f"the path of the folder {folder} has one of * ? [ ], which DuckDB takes for a pattern")
        return Storage({**self.containers, place: folder.resolve(strict=True)})
