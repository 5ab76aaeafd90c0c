"""What the place of a cluster means for the ManagedIdentity policy; a method of ``Session``, which takes it over."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from kqlmi.errors import printable

if TYPE_CHECKING:
    from kqlmi.session.session import Session

# Source: kusto/tools/kusto-explorer-using.md.
_EVENTHOUSES: Final = ".kusto.fabric.microsoft.com"


def notes(session: "Session") -> Iterator[str]:
    """Give a sentence for each thing about policies that is otherwise here, as far as it is known without asking."""
    host = urlsplit(session.target.query_url).hostname or "" if session.target else ""
    if host.endswith(_EVENTHOUSES):
        yield (
            "This is an Eventhouse in Microsoft Fabric: the documentation gives the ManagedIdentity policy to Azure Data "
            "Explorer alone."
        )
    if session.met.following:
        shown = ", ".join(map(printable, sorted(str(one.name) for one in session.met.following)))
        yield f"These databases follow a leader, and their policies are changed on its cluster: {shown}."
