"""The reason why a host was not reached, from the error that the HTTP library raised before anything was sent."""

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from kqlmi.errors import is_refusal

_NETWORK: Final = "Check the URL and the network."
_PASSING: Final = frozenset({408, 429})
# http.client raises a plain OSError if a proxy refuses a tunnel: only its text contains the status.
_TUNNEL: Final = re.compile(r"Tunnel connection failed: (\d{3})[ \w-]{0,60}")
_SECONDS: Final = 3.0

Cause = TypeVar("Cause", bound=BaseException)


@dataclass(frozen=True, slots=True)
class Unreached:
    """The reason why a host was not reached, or an empty string. A ``lasting`` reason affects every request."""

    why: str = ""
    hint: str = _NETWORK
    lasting: bool = False


def unreached(error: BaseException, host: str) -> Unreached:
    """Return why ``host`` was not reached, from an error of the HTTP library and its causes."""
    from urllib3.exceptions import ProxyError

    causes = tuple(_causes(error))

    def first(kind: type[Cause]) -> Cause | None:
        return next((one for one in causes if isinstance(one, kind)), None)

    if untrusted := first(ssl.SSLCertVerificationError):
        return Unreached(
            f"because its certificate{_shown(host)} is not trusted: {untrusted.verify_message}",
            "If a proxy inspects TLS, set REQUESTS_CA_BUNDLE to a PEM file that contains its CA certificate.",
            lasting=True,
        )
    if first(ProxyError):
        return _of_proxy(causes)
    if broken := first(ssl.SSLError):
        return Unreached(f"because TLS failed: {broken.reason}")
    return next((found for kind, found in _OTHERS.items() if first(kind)), Unreached())


_OTHERS: Final[Mapping[type[BaseException], Unreached]] = {
    socket.gaierror: Unreached("because its name cannot be resolved", lasting=True),
    ConnectionRefusedError: Unreached("because it refuses connections"),
    TimeoutError: Unreached("because it does not respond"),
}


def _of_proxy(causes: tuple[BaseException, ...]) -> Unreached:
    answered = next(filter(None, (_TUNNEL.search(str(one)) for one in causes if type(one) is OSError)), None)
    if not answered:
        return Unreached("because the proxy cannot be reached", "Check HTTPS_PROXY and NO_PROXY.")
    status = int(answered[1])
    reason = answered[0].removeprefix("Tunnel connection failed: ").strip()
    hint = "Check HTTPS_PROXY and NO_PROXY, or ask the administrator of the proxy."
    if status == 407:  # noqa: PLR2004 - the proxy requires authentication
        hint = "Put the user name and the password for the proxy into the URL of HTTPS_PROXY."
    return Unreached(
        f"because the proxy refuses the connection with {reason}",
        hint,
        lasting=is_refusal(status, own=True) and status not in _PASSING,
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all its causes, including those that the HTTP library stores in fields and arguments."""
    left, seen = [error], set[int]()
    while left:
        one = left.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        found = (one.__cause__, one.__context__, getattr(one, "reason", None), *one.args)
        left += [other for other in found if isinstance(other, BaseException)]


def _shown(host: str) -> str:
    """Return the subject and issuer of the certificate that a host presents, or an empty string."""
    import http.client

    from cryptography import x509
    from requests.utils import get_environ_proxies, select_proxy

    parts = urlsplit(f"https://{host}")
    proxy = urlsplit(select_proxy(parts.geturl(), get_environ_proxies(parts.geturl())) or "")
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    with suppress(OSError, ValueError, http.client.HTTPException):
        there = proxy if proxy.hostname else parts
        connection: Any = http.client.HTTPSConnection(
            str(there.hostname), there.port, timeout=_SECONDS, context=unverified
        )
        if proxy.hostname:
            connection.set_tunnel(str(parts.hostname), parts.port or 443)
        # Only the handshake: nothing is sent to a host that is not trusted.
        with closing(connection):
            connection.connect()
            shown = x509.load_der_x509_certificate(connection.sock.getpeercert(binary_form=True))
        subject, issuer = (one.rfc4514_string() for one in (shown.subject, shown.issuer))
        return f" of {subject or 'no name'!r}, from {issuer!r},"
    return ""
