"""The resource ID of an Azure resource."""

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
    """A parsed resource ID; ``name`` is the last name of its path, such as that of an event hub in its namespace."""

    subscription: str
    group: str
    name: str

    @classmethod
    def parse(cls, text: str, kind: str) -> "ResourceId | None":
        """Read a resource ID of a kind such as ``Microsoft.Kusto/clusters``; return None for any other string."""
        found = _RESOURCE_ID.fullmatch(text)
        if found is None:
            return None
        _, *path = found["path"].split("/")
        if "/".join([found["provider"], *path[::2]]).casefold() != kind.casefold():
            return None
        return cls(found["subscription"], found["group"], path[-1])
