"""Options with which azure-mgmt clients authenticate to the local cluster over plain http."""

import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

_HOUR = 3600
_SCOPE = "https://management.azure.com/.default"


@dataclass(frozen=True)
class Credential:
    """A token of the local cluster's Azure Resource Manager routes, as a credential whose repr does not show it."""

    _token: str = field(repr=False)

    def get_token(self, *_scopes: str, **_options: Any) -> Any:
        """Return an ``azure.core.credentials.AccessToken``."""
        from azure.core.credentials import AccessToken  # heavy

        return AccessToken(self._token, int(time.time()) + _HOUR)


def options(url: str, token: str) -> dict[str, Any]:
    """Return keyword arguments for azure-mgmt clients, whose own authentication accepts only https."""
    from azure.core.pipeline.policies import SansIOHTTPPolicy  # heavy

    class Bearer(SansIOHTTPPolicy[Any, Any]):
        def on_request(self, request: Any) -> None:
            if urlsplit(request.http_request.url).hostname == "127.0.0.1":
                request.http_request.headers["Authorization"] = f"Bearer {token}"

    return {
        "credential": Credential(token),
        "base_url": url,
        "credential_scopes": [_SCOPE],
        "authentication_policy": Bearer(),
        "polling_interval": 0,
    }
