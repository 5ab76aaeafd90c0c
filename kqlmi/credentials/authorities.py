"""Where tokens come from: the authority of a cloud."""

import os
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from kqlmi.errors import SignInError, printable

PUBLIC: Final = "https://login.microsoftonline.com"
# Those of wellKnownKustoEndpoints.json in azure-kusto-data 6.0.4; True where MSAL knows it, and can confirm it.
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
    """Return the keyword arguments by which azure-identity asks this authority for tokens.

    A cluster names its authority itself, and what it names gets the secret of a service principal: one that is not known
    counts only where ``AZURE_AUTHORITY_HOST`` names it too.

    Raises:
        SignInError: Nobody vouches for it.
    """
    host, own = _host(login_endpoint), _host(os.environ.get("AZURE_AUTHORITY_HOST", ""))
    if not host or (host not in _KNOWN and host != own):
        raise SignInError(
            f"The cluster says to sign in at {printable(login_endpoint)!r}, which is no authority that kqlmi knows.",
            hint=f"If you trust it, set AZURE_AUTHORITY_HOST={printable(login_endpoint)} before you start.",
        )
    return {"authority": f"https://{host}", "disable_instance_discovery": not _KNOWN.get(host, False)}


def _host(authority: str) -> str:
    """Return host and port, empty where it is not asked over https; azure-identity takes a bare host as well."""
    parts = urlsplit(authority if "//" in authority else f"https://{authority}")
    return parts.netloc.lower() if parts.scheme == "https" else ""
