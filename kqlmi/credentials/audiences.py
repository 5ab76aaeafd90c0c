"""The audience of tokens. A cluster names its own audience, which must be Kusto or allowed by the user."""

import re
from dataclasses import dataclass, field
from typing import Any, Final

from kqlmi.credentials.shared_credential import SharedCredential
from kqlmi.errors import InputError, SignInError, printable

# Kusto's own suffixes in wellKnownKustoEndpoints.json of azure-kusto-data 6.0.4, one line for each cloud: tokens for the
# others there, such as Microsoft Defender's, give access to more than a cluster.
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
    """Return the resource ID of an application, or raise InputError if it is invalid."""
    if text and not _AUDIENCE.fullmatch(text):
        raise InputError(
            "The audience is not a resource ID.",
            hint="Use --audience with an ID such as https://kusto.kusto.windows.net.",
        )
    return text


@dataclass(frozen=True, slots=True)
class ForCluster:
    """A credential for a cluster's client. It returns tokens only for Kusto or for the audience that the user names."""

    credential: SharedCredential = field(repr=False)
    audience: str = ""

    def get_token(self, *scopes: str, **options: Any) -> Any:
        """Return an ``azure.core.credentials.AccessToken``.

        Raises:
            SignInError: The token would be for another audience, or was not obtained.
        """
        for scope in scopes:
            resource = scope.removesuffix("/.default")
            if not _KUSTO.fullmatch(resource) and (not self.audience or _bare(resource) != _bare(self.audience)):
                raise SignInError(
                    f"The cluster requests a token for {printable(resource)!r}, which is not Kusto.",
                    hint="Nothing was sent. If you trust it, pass that resource ID with --audience.",
                )
        return self.credential.get_token(*scopes, **options)

    def close(self) -> None:
        """Do nothing: other clients use the credential."""


def _bare(resource: str) -> str:
    return resource.casefold().rstrip("/")
