"""The way in which a connection signs in."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kqlmi.credentials.audiences import ForCluster, checked_audience
from kqlmi.credentials.authorities import PUBLIC, trusted
from kqlmi.credentials.shared_credential import SharedCredential
from kqlmi.credentials.way import Wanted, Way, checked_tenant, environment, to_stderr
from kqlmi.credentials.ways import WAYS
from kqlmi.errors import InputError
from kqlmi.redaction import Secret

MODES = (*WAYS, "token", "none")
_WORD: Final = re.compile(r"[a-z-]{1,24}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SignIn:
    """The way in which a connection signs in: ``mode`` for display, and the token or credential. No repr shows a secret.

    ``credential`` can be passed to every Azure client: only ``close`` closes it. ``audience`` is an audience other than
    Kusto for which the user allows a cluster to request a token.
    """

    mode: str
    token: str | None = field(default=None, repr=False)
    credential: SharedCredential | None = field(default=None, repr=False)
    audience: str = ""

    def __post_init__(self) -> None:
        """Hide the token from reprs and from code that saves values."""
        if self.token is not None:
            object.__setattr__(self, "token", Secret(self.token))

    @property
    def for_cluster(self) -> ForCluster | None:
        """The credential for a cluster's client."""
        return ForCluster(self.credential, self.audience) if self.credential else None

    @property
    def secrets(self) -> frozenset[str]:
        """The current tokens."""
        return frozenset(filter(None, (self.token, *(self.credential.secrets if self.credential else ()))))

    def close(self) -> None:
        """Close the credential, unless the user created it."""
        if self.credential is not None:
            self.credential.release()


def sign_in(
    mode: str = "default",
    *,
    token: str | None = None,
    credential: Any = None,
    tenant: str = "",
    sign_in_identity: str = "",
    audience: str = "",
    tell: Callable[[str], None] | None = None,
    login_endpoint: Callable[[], str] = lambda: PUBLIC,
) -> SignIn:
    """Return the way to sign in. Nothing is sent before a token is needed.

    ``mode`` is one of ``MODES``. Secrets come from the environment: ``AZURE_CLIENT_SECRET`` or
    ``AZURE_CLIENT_CERTIFICATE_PATH`` and ``_PASSWORD`` for service-principal, ``KQLMI_TOKEN`` for token.
    ``login_endpoint`` returns the authority of the cluster's cloud, and is called only for a mode that uses it. See
    ``kqlmi.connect`` for the other options.

    Raises:
        InputError: The mode is unknown, does not accept an option, or lacks an environment variable that it requires.
    """
    checked_tenant(tenant)
    checked_audience(audience)
    options = {"tenant": tenant, "sign_in_identity": sign_in_identity}
    if audience and credential is None and (token is not None or mode in {"token", "none"}):
        raise InputError("--audience has no effect with a token, or without signing in.", hint="Leave out --audience.")
    if token is not None or (mode == "token" and credential is None):
        _refuse("token", frozenset(), options)
        found = (environment("KQLMI_TOKEN") if token is None else token).strip()
        if not found or not found.isascii() or not found.isprintable():
            fault = "contains characters that are not allowed in an HTTP header" if found else "is empty"
            raise InputError(f"The token {fault}.", hint="Pass the access token without quotes and line breaks.")
        return SignIn("token", token=found)
    if credential is not None:
        name = type(credential).__name__
        _refuse(name, frozenset({"tenant"}), options)
        shared = SharedCredential(name, lambda: credential, tenant=tenant, own=False)
        return SignIn(name, credential=shared, audience=audience)
    if mode == "none":
        _refuse(mode, frozenset(), options)
        return SignIn(mode)
    if mode not in WAYS:
        # A secret that was passed here by mistake must not appear in a saved error.
        named = f" {mode!r}" if _WORD.fullmatch(mode) else ""
        raise InputError(f"Unknown sign-in mode{named}.", hint=f"Use one of: {', '.join(MODES)}.")
    _refuse(mode, WAYS[mode].options, options)
    wanted = Wanted(tenant, sign_in_identity, tell or to_stderr)
    return SignIn(mode, credential=_shared(mode, WAYS[mode], wanted, login_endpoint), audience=audience)


def _shared(mode: str, way: Way, wanted: Wanted, login_endpoint: Callable[[], str]) -> SharedCredential:
    class_name, arguments = way.prepare(wanted)

    def make() -> Any:
        import azure.identity

        authority = trusted(login_endpoint()) if way.entra else {}
        return getattr(azure.identity, class_name)(**arguments, **authority)

    return SharedCredential(mode, make, hint=way.hint, tenant=wanted.tenant)


def _refuse(mode: str, taken: frozenset[str], options: Mapping[str, str]) -> None:
    """Raise InputError for an option that would have no effect."""
    for name in (one for one, value in options.items() if value and one not in taken):
        modes = ", ".join(key for key, way in WAYS.items() if name in way.options)
        option = f"--{name.replace('_', '-')}"
        raise InputError(f"Signing in with {mode} does not accept {option}.", hint=f"Modes that do: {modes}.")
