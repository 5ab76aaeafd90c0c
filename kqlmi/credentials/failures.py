"""Failures to sign in, as one line without secrets."""

import os
import re
from collections.abc import Iterator
from typing import Any, Final

from kqlmi.errors import SignInError
from kqlmi.redaction import redacted

_LENGTH: Final = 300
_SECRET_VARIABLES: Final = (
    "AZURE_CLIENT_SECRET",
    "AZURE_CLIENT_CERTIFICATE_PASSWORD",
    "AZURE_PASSWORD",
    "IDENTITY_HEADER",
    "KQLMI_TOKEN",
    "MSI_SECRET",
)
# A response may repeat the code under another name.
_DEVICE_CODE: Final = re.compile(r"""device_code["']?\s*[:=]\s*["']?([\w-]{16,})""")
_ATTEMPT: Final = re.compile(r"^\t(\w+)Credential(?::[ ](.*))?$", re.MULTILINE)


def failure(mode: str, error: Exception, credential: Any, hint: str) -> SignInError:
    """Return a credential's error as one line. For a chain, it lists the ways that were tried, and the refusal if any."""
    text = str(getattr(error, "message", "") or error)
    tried = _ATTEMPT.findall(text) if hasattr(credential, "credentials") else []
    if not tried:
        reason = next(_lines(text), "") or type(error).__name__
    else:
        names = [name for name, _ in tried]
        # A chain continues if a way is not set up here, and ends if a way is refused.
        end = credential.credentials[-1]
        last = str(getattr(end, "_credential_name", "") or type(end).__name__).removesuffix("Credential")
        refused = f"; {names[-1]} was refused: {next(_lines(tried[-1][1]), '')}" if last and names[-1] != last else ""
        reason = f"tried {', '.join(names)}{refused or ', and none is set up here'}."
    reason = without_secrets(reason)
    short = reason if len(reason) <= _LENGTH else f"{reason[:_LENGTH].rstrip()}…"
    return SignInError(f"Signing in with {mode} failed: {short}", hint=hint)


def without_secrets(text: str) -> str:
    """Return ``text`` with secrets redacted, because an authority may repeat what it was sent."""
    known = (os.environ.get(name, "").strip() for name in _SECRET_VARIABLES)
    return redacted(text, (*known, *_DEVICE_CODE.findall(text)))


def _lines(text: str) -> Iterator[str]:
    return (line.strip() for line in text.splitlines() if line.strip())
