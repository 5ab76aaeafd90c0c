"""What the place of a cluster means for the ManagedIdentity policy."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from kqlmi.errors import printable
from kqlmi.session.core import Core

# Source: kusto/tools/kusto-explorer-using.md.
_EVENTHOUSES: Final = ".kusto.fabric.microsoft.com"


def notes(core: Core) -> Iterator[str]:
    """Yield a sentence for each thing about policies that is otherwise here, as far as it is known without asking."""
    host = urlsplit(core.target.query_url).hostname or "" if core.target else ""
    if host.endswith(_EVENTHOUSES):
        yield (
            "This is an Eventhouse in Microsoft Fabric: the documentation gives the ManagedIdentity policy to Azure Data "
            "Explorer alone."
        )
    if core.known.following:
        shown = ", ".join(map(printable, sorted(str(one.name) for one in core.known.following)))
        yield f"These databases follow a leader, and their policies are changed on its cluster: {shown}."
