"""Stand-ins for an Azure machine: the identity endpoints of App Service and of a virtual machine, and the Azure CLI."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.standins.serving import Answer, Request, serve

RESOURCE: Final = "https://kusto.kusto.windows.net"
CLIENT_ID: Final = "c0c0c0c0-0000-4000-8000-c0c0c0c0c0c0"
OBJECT_ID: Final = "0b0b0b0b-0000-4000-8000-0b0b0b0b0b0b"
RESOURCE_ID: Final = (
    "/subscriptions/5ab5c21b-0000-4000-8000-000000000000/resourceGroups/g"
    "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/notebooks"
)
_SYSTEM: Final = "system"


@dataclass
class Machine:
    """A machine with a system-assigned and a user-assigned identity; ``asked`` records which were requested."""

    token: str
    header: str = field(default_factory=lambda: f"planted-header-{secrets.token_hex(8)}")
    url: str = ""
    asked: list[str] = field(default_factory=list)

    def app_service(self, request: Request) -> Answer:
        """Answer a request to IDENTITY_ENDPOINT as App Service does in version 2019-08-01."""
        query = request.query
        if request.method != "GET" or query.pop("api-version", "") != "2019-08-01":
            return Answer(400, {"statusCode": 400, "message": "The api-version is not supported."})
        if request.headers.get("X-IDENTITY-HEADER") != self.header:
            return Answer(401, {"statusCode": 401, "message": "The X-IDENTITY-HEADER is not this app's."})
        if query.pop("resource", "") != RESOURCE:
            return Answer(500, {"statusCode": 500, "message": "The resource is not known."})
        found = self._identity(query, {"client_id": CLIENT_ID, "object_id": OBJECT_ID, "mi_res_id": RESOURCE_ID})
        if not found:
            return Answer(400, {"statusCode": 400, "message": "No User Assigned or Delegated Managed Identity found."})
        expires = str(int(time.time()) + 86_400)
        return Answer(
            200, {"access_token": self.token, "expires_on": expires, "resource": RESOURCE, "token_type": "Bearer"}
        )

    def imds(self, request: Request) -> Answer:
        """Answer a request as the Instance Metadata Service does."""
        query = request.query
        if request.method != "GET" or request.route != "/metadata/identity/oauth2/token":
            return _refusal("not_found", "There is no such endpoint.")
        if request.headers.get("Metadata") != "true" or "X-Forwarded-For" in request.headers:
            return _refusal("bad_request_102", "Required metadata header not specified.")
        if query.pop("api-version", "") != "2018-02-01" or query.pop("resource", "") != RESOURCE:
            return _refusal("invalid_resource", "AADSTS50001: The application was not found in the tenant.")
        found = self._identity(query, {"client_id": CLIENT_ID, "object_id": OBJECT_ID, "msi_res_id": RESOURCE_ID})
        if not found:
            return _refusal("invalid_request", "Identity not found")
        body = {"access_token": self.token, "expires_in": "86400", "resource": RESOURCE, "token_type": "Bearer"}
        return Answer(200, body)

    def _identity(self, query: dict[str, str], known: dict[str, str]) -> str:
        """Return the identity that a query names, or an empty text; a query may name only one."""
        found = _SYSTEM
        if query:
            found = next((name for name, value in known.items() if query == {name: value}), "")
        if found:
            self.asked.append(found)
        return found


def _refusal(error: str, text: str) -> Answer:
    return Answer(400, {"error": error, "error_description": text})


@contextmanager
def app_service(machine: Machine) -> Iterator[Machine]:
    """Serve the identities as App Service does."""
    with serve(machine.app_service) as port:
        machine.url = f"http://127.0.0.1:{port}/msi/token"
        yield machine


@contextmanager
def imds(machine: Machine) -> Iterator[Machine]:
    """Serve the identities as a virtual machine does."""
    with serve(machine.imds) as port:
        machine.url = f"http://127.0.0.1:{port}"
        yield machine


_AZ = """\
#!/bin/sh
echo "$*" >> '{folder}/asked'
case "$*" in
    "account get-access-token --output json --resource {resource}"*) cat '{folder}/answer' ;;
    *) echo "az: '$*' is misspelled or not recognized by the system." >&2; exit 2 ;;
esac
[ ! -f '{folder}/error' ] || {{ cat '{folder}/error' >&2; exit 1; }}
"""


class AzureCli:
    """An executable ``az`` in its own folder, with a signed-in user."""

    def __init__(self, folder: Path, token: str) -> None:
        self.folder = folder
        (folder / "asked").touch()
        (folder / "az").write_text(_AZ.format(folder=folder, resource=RESOURCE))
        (folder / "az").chmod(0o755)
        self.say(f'{{"accessToken": "{token}", "expires_on": {int(time.time()) + 3600}, "tokenType": "Bearer"}}')

    def say(self, answer: str, error: str = "") -> None:
        """Make it print something else; with an error, it fails."""
        (self.folder / "answer").write_text(answer)
        if error:
            (self.folder / "error").write_text(error)

    @property
    def asked(self) -> list[str]:
        return (self.folder / "asked").read_text().splitlines()
