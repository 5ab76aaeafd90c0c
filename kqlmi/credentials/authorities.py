"""The authority of a cloud, which issues tokens."""

import os
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from kqlmi.errors import SignInError, printable

PUBLIC: Final = "https://login.microsoftonline.com"
# The authorities in wellKnownKustoEndpoints.json of azure-kusto-data 6.0.4; True if MSAL knows and can confirm them.
_KNOWN: Final[Mapping[str, bool]] = {
    "login.microsoftonline.com": True,
    "login.microsoftonline.us": True,
    "login.partner.microsoftonline.cn": True,
    "login.microsoftonline.eaglex.ic.gov": False,
    "login.microsoftonline.microsoft.scloud": False,
    "login.sovcloud-identity.fr": False,
    "login.sovcloud-identity.de": False,
    "login.sovcloud-identity.sg": False,
}


def trusted(login_endpoint: str) -> Mapping[str, Any]:
    """Return the keyword arguments with which azure-identity requests tokens from this authority.

    A cluster names its own authority, which receives the secret of a service principal. An unknown authority is therefore
    accepted only if ``AZURE_AUTHORITY_HOST`` names it too.

    Raises:
        SignInError: The authority is unknown, and the environment does not name it.
    """
    host, own = _host(login_endpoint), _host(os.environ.get("AZURE_AUTHORITY_HOST", ""))
    if not host or (host not in _KNOWN and host != own):
        raise SignInError(
            f"The cluster requests a sign-in at {printable(login_endpoint)!r}, which is not a known authority.",
            hint=f"If you trust it, set AZURE_AUTHORITY_HOST={printable(login_endpoint)} before you start.",
        )
    return {"authority": f"https://{host}", "disable_instance_discovery": not _KNOWN.get(host, False)}


def _host(authority: str) -> str:
    """Return the host and port of an authority URL, or an empty string if its scheme is not https.

    Like azure-identity, accept a bare host.
    """
    parts = urlsplit(authority if "//" in authority else f"https://{authority}")
    return parts.netloc.lower() if parts.scheme == "https" else ""
