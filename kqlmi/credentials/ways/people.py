"""The ways in which people sign in."""

from typing import Any

from kqlmi.credentials.way import Credential, Wanted, way
from kqlmi.errors import printable


@way(
    "default",
    "tenant",
    hint="Run az login in a terminal and connect with --auth azure-cli, or with --auth device-code.",
)
def _default(wanted: Wanted) -> Credential:
    return "DefaultAzureCredential", {"additionally_allowed_tenants": list(wanted.tenant_id.values())}


@way("interactive", "tenant", hint="If this machine has no browser, connect with --auth device-code.")
def _interactive(wanted: Wanted) -> Credential:
    return "InteractiveBrowserCredential", wanted.tenant_id


@way("device-code", "tenant", hint="Connect again for a new code, with --tenant for another tenant.")
def _device_code(wanted: Wanted) -> Credential:
    def prompt(link: str, code: str, until: Any) -> None:
        wanted.tell(f"To sign in, open {printable(link)} and enter the code {printable(code)} by {until:%H:%M} UTC.")

    return "DeviceCodeCredential", {"prompt_callback": prompt, **wanted.tenant_id}


@way("azure-cli", "tenant", hint="Run az login in a terminal, and connect again.", entra=False)
def _azure_cli(wanted: Wanted) -> Credential:
    return "AzureCliCredential", {"process_timeout": 30, **wanted.tenant_id}
