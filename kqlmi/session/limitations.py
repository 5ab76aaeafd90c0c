"""The limitations of the ManagedIdentity policy on special clusters and databases."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from kqlmi.errors import printable
from kqlmi.session.core import Core

# Source: kusto/tools/kusto-explorer-using.md.
_EVENTHOUSES: Final = ".kusto.fabric.microsoft.com"


def notes(core: Core) -> Iterator[str]:
    """Yield a sentence for each limitation of policies on this cluster that is known without a request."""
    host = urlsplit(core.target.query_url).hostname or "" if core.target else ""
    if host.endswith(_EVENTHOUSES):
        yield (
            "This is an Eventhouse in Microsoft Fabric, but the ManagedIdentity policy is documented for Azure Data "
            "Explorer only."
        )
    if core.known.following:
        shown = ", ".join(map(printable, sorted(str(one.name) for one in core.known.following)))
        yield f"These databases are followers; their policies can only be changed on the leader cluster: {shown}."
