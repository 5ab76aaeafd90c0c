"""How a connection signs in."""

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
    """How a connection signs in: ``mode`` for people, and what makes it true; no repr shows a secret.

    ``credential`` can be given to every client of Azure: none of them closes it, ``close`` does. ``audience`` is what the
    user lets a cluster ask a token for beside Kusto.
    """

    mode: str
    token: str | None = field(default=None, repr=False)
    credential: SharedCredential | None = field(default=None, repr=False)
    audience: str = ""

    def __post_init__(self) -> None:
        """Keep the token from whatever shows or saves values."""
        if self.token is not None:
            object.__setattr__(self, "token", Secret(self.token))

    @property
    def for_cluster(self) -> ForCluster | None:
        """Return the credential as a cluster's client gets it."""
        return ForCluster(self.credential, self.audience) if self.credential else None

    @property
    def secrets(self) -> frozenset[str]:
        """Return the tokens that are held."""
        return frozenset(filter(None, (self.token, *(self.credential.secrets if self.credential else ()))))

    def close(self) -> None:
        """Close the credential, unless somebody else made it."""
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
    """Return the way to sign in; nothing is sent before a token is wanted.

    ``mode`` is one of ``MODES``; secrets come from the environment: ``AZURE_CLIENT_SECRET`` or
    ``AZURE_CLIENT_CERTIFICATE_PATH`` and ``_PASSWORD`` for service-principal, ``KQLMI_TOKEN`` for token.
    ``login_endpoint`` returns the authority of the cluster's cloud, and is called only for a way that asks it. Everything
    else is as for ``kqlmi.connect``.

    Raises:
        InputError: The mode is not known, takes no such option, or the environment lacks what it needs.
    """
    checked_tenant(tenant)
    checked_audience(audience)
    options = {"tenant": tenant, "sign_in_identity": sign_in_identity}
    if audience and credential is None and (token is not None or mode in {"token", "none"}):
        raise InputError("A token that is given has its audience already.", hint="Leave out --audience.")
    if token is not None or (mode == "token" and credential is None):
        _refuse("token", frozenset(), options)
        found = (environment("KQLMI_TOKEN") if token is None else token).strip()
        if not found or not found.isascii() or not found.isprintable():
            raise InputError("That is not a token: it is empty, or holds a character that no header can carry.")
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
        # Who puts a secret there must not find it in the saved error.
        named = f" {mode!r}" if _WORD.fullmatch(mode) else ""
        raise InputError(f"There is no such sign-in mode{named}.", hint=f"Use one of: {', '.join(MODES)}.")
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
    """Refuse an option that would have no effect."""
    for name in (one for one, value in options.items() if value and one not in taken):
        modes = ", ".join(key for key, way in WAYS.items() if name in way.options)
        option = f"--{name.replace('_', '-')}"
        raise InputError(f"Signing in by {mode} takes no {option}.", hint=f"These take one: {modes}.")
