"""What a token is for: a cluster names its own audience, and may only name Kusto's."""

import re
from dataclasses import dataclass, field
from typing import Any, Final

from kqlmi.credentials.shared_credential import SharedCredential
from kqlmi.errors import InputError, SignInError, printable

# Of wellKnownKustoEndpoints.json in azure-kusto-data 6.0.4, those of Kusto itself, a line for each cloud: the tokens of
# others there, as of Microsoft Defender, open more than a cluster.
KUSTO_SUFFIXES: Final = """
.kusto.windows.net .kustomfa.windows.net .kustodev.windows.net .kusto.data.microsoft.com .kusto.fabric.microsoft.com
.kusto.azuresynapse.net .kustodev.azuresynapse-dogfood.net
.kusto.usgovcloudapi.net .kustomfa.usgovcloudapi.net
.kusto.chinacloudapi.cn .kustomfa.chinacloudapi.cn .kusto.azuresynapse.azure.cn
.kusto.core.eaglex.ic.gov .kustomfa.core.eaglex.ic.gov
.kusto.core.microsoft.scloud .kustomfa.core.microsoft.scloud
.kusto.sovcloud-api.fr .kustomfa.sovcloud-api.fr
.kusto.sovcloud-api.de .kustomfa.sovcloud-api.de
.kusto.sovcloud-api.sg .kustomfa.sovcloud-api.sg
"""
_KUSTO: Final = re.compile(
    rf"https://[a-z0-9-]+(?:\.[a-z0-9-]+)*(?:{'|'.join(map(re.escape, KUSTO_SUFFIXES.split()))})/?", re.IGNORECASE
)
_AUDIENCE: Final = re.compile(r"[\w.:/-]{1,200}", re.ASCII)


def checked_audience(text: str) -> str:
    """Return the resource ID of an application; InputError where it cannot be one."""
    if text and not _AUDIENCE.fullmatch(text):
        raise InputError("That is not an audience.", hint="Write a resource ID, as https://kusto.kusto.windows.net.")
    return text


@dataclass(frozen=True, slots=True)
class ForCluster:
    """A credential as a cluster's client gets it: it gives tokens for Kusto, or for the audience that the user names."""

    credential: SharedCredential = field(repr=False)
    audience: str = ""

    def get_token(self, *scopes: str, **options: Any) -> Any:
        """Return an ``azure.core.credentials.AccessToken``.

        Raises:
            SignInError: The token is for somebody else, or none could be had.
        """
        for scope in scopes:
            resource = scope.removesuffix("/.default")
            if not _KUSTO.fullmatch(resource) and (not self.audience or _bare(resource) != _bare(self.audience)):
                raise SignInError(
                    f"The cluster wants a token for {printable(resource)!r}, which is not Kusto.",
                    hint="Nothing was sent. If you trust it, name that with --audience.",
                )
        return self.credential.get_token(*scopes, **options)

    def close(self) -> None:
        """Leave the credential open: other clients use it."""


def _bare(resource: str) -> str:
    return resource.casefold().rstrip("/")
