"""The URL of a cluster, from the name that the user types."""

import re
from typing import Final

from kqlmi.errors import InputError

_URL: Final = re.compile(r"(?P<url>https?://(?:[a-z0-9.-]+|\[::1\])(?::(?P<port>\d{1,5}))?)/?", re.IGNORECASE)
# A cluster's name has lower-case letters and digits, and is followed by its region or the rest of its host.
_SHORT: Final = re.compile(r"[a-z][a-z0-9]{2,62}\.[a-z0-9]+")
_HOST: Final = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)?\.kusto(?:\.[a-z]+)+", re.IGNORECASE)
# Limited to the length of a name, because errors quote it and must not quote a key.
_NAME: Final = re.compile(r"[\w-]{1,40}")
_LAST_PORT: Final = 65535


def is_name(cluster: str) -> bool:
    """Check whether ``cluster`` can only be the name of a connection: it has neither a scheme nor a dot."""
    return _NAME.fullmatch(cluster) is not None


def url_of(cluster: str) -> str:
    """Return a cluster's URL, given the URL, the host, or a short name such as ``mycluster.westeurope``.

    Raises:
        InputError: ``cluster`` is not a valid address. The error does not quote it, because it may contain a secret.
    """
    text = cluster.strip()
    if _SHORT.fullmatch(text):
        return f"https://{text}.kusto.windows.net"
    if _HOST.fullmatch(text):
        return f"https://{text}"
    found = _URL.fullmatch(text)
    if found is None or int(found["port"] or 0) > _LAST_PORT:
        raise InputError(
            "The given address is not the URL of a cluster.",
            hint="Pass mycluster.westeurope, its URL, or local, and use --database and --auth for other settings.",
        )
    return found["url"]
