"""The ID of a resource in Azure."""

import re
from dataclasses import dataclass
from typing import Final

_RESOURCE_ID: Final = re.compile(
    r"/subscriptions/(?P<subscription>[^/\s]+)/resourceGroups/(?P<group>[^/\s]+)"
    r"/providers/(?P<provider>[^/\s]+)(?P<path>(?:/[^/\s]+/[^/\s]+)+)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ResourceId:
    """Where a resource is: ``name`` is the last one of its path, as that of an event hub behind its namespace."""

    subscription: str
    group: str
    name: str

    @classmethod
    def parse(cls, text: str, kind: str) -> "ResourceId | None":
        """Read a resource ID; None where the text is none of that kind, such as ``Microsoft.Kusto/clusters``."""
        found = _RESOURCE_ID.fullmatch(text)
        if found is None:
            return None
        _, *path = found["path"].split("/")
        if "/".join([found["provider"], *path[::2]]).casefold() != kind.casefold():
            return None
        return cls(found["subscription"], found["group"], path[-1])
