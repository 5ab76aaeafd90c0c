"""The credential of a session. Several clients share it, and none of them closes it."""

import logging
import time
from collections.abc import Callable
from threading import Lock
from typing import Any, Final

from kqlmi.credentials.failures import failure, without_secrets
from kqlmi.errors import KqlmiError, NotConnectedError

# A token is no longer used this many seconds before it expires.
_MARGIN: Final = 300
_LIBRARY: Final = "azure.identity"
_LIBRARIES: Final = (_LIBRARY, "msal")
# Without a handler, Python prints the many lines in which the library repeats an error.
_SILENT: Final = logging.NullHandler()


class _Redacting(logging.Filter):
    """A filter that redacts the secrets in a library's log."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact a record, and keep it."""
        record.msg, record.args = without_secrets(record.getMessage()), ()
        # The message contains the error already; a traceback would repeat it unredacted.
        record.exc_info = record.exc_text = None
        return True


_REDACTING: Final = _Redacting()


def _watch_log() -> None:
    """Silence and redact the libraries' logs. A filter applies only to the logger that it is added to, not to children."""
    logging.getLogger(_LIBRARY).addHandler(_SILENT)
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(_LIBRARIES):
            logging.getLogger(name).addFilter(_REDACTING)


class _Unseen:
    """A value from the library that no repr shows."""

    __slots__ = ("value",)

    def __init__(self, value: Any = None) -> None:
        self.value = value


class SharedCredential:
    """A credential that is created when the first token is needed.

    ``close`` leaves it open, because other clients use it too; ``release`` closes it. A token is cached until it is about
    to expire: the Kusto client requests a token for each request, and the Azure CLI takes a second to return one. Only one
    token is requested at a time, so that the user does not have to sign in twice.
    """

    def __init__(
        self, mode: str, make: Callable[[], Any], *, hint: str = "", tenant: str = "", own: bool = True
    ) -> None:
        """Store ``make``, which creates the credential. Unless ``own``, ``release`` does not close the credential."""
        self._mode, self._make, self._own = mode, make, own
        self._hint = hint or "Sign in another way, for example with --auth azure-cli after az login."
        self._request = {"tenant_id": tenant} if tenant else {}
        self._inner = _Unseen()
        self._closed = False
        self._tokens: dict[tuple[str, ...], _Unseen] = {}
        self._lock = Lock()

    def __repr__(self) -> str:
        """Return the sign-in mode; never a token."""
        return f"<credential by {self._mode}>"

    @property
    def secrets(self) -> frozenset[str]:
        """The current tokens."""
        return frozenset(str(token.value.token) for token in list(self._tokens.values()))

    def get_token(self, *scopes: str, claims: str | None = None, tenant_id: str | None = None, **options: Any) -> Any:
        """Return an ``azure.core.credentials.AccessToken``.

        Raises:
            SignInError: No token was obtained.
        """
        request = {**self._request, **({"tenant_id": tenant_id} if tenant_id else {})}
        key = (*scopes, str(request.get("tenant_id")), str(options))
        with self._lock:
            if self._closed:
                raise NotConnectedError("The session is closed.", hint="Connect again.")
            token = self._tokens.get(key)
            if token is None or claims or token.value.expires_on - _MARGIN < time.time():
                more = {"claims": claims} if claims else {}
                token = self._tokens[key] = _Unseen(self._ask(scopes, request | more | options))
            return token.value

    def _ask(self, scopes: tuple[str, ...], options: dict[str, Any]) -> Any:
        try:
            if self._inner.value is None:
                self._inner.value = self._make()
                _watch_log()
            return self._inner.value.get_token(*scopes, **options)
        except KqlmiError:
            raise
        except Exception as error:  # noqa: BLE001 - a credential may be the user's own, and raise anything
            failed = failure(self._mode, error, self._inner.value, self._hint)
        # Raised outside the handler, without the library's own error, which may repeat what was sent.
        raise failed

    def close(self) -> None:
        """Do nothing: other clients use the credential."""

    def release(self) -> None:
        """Close the credential for good."""
        with self._lock:
            if self._own and not self._closed and hasattr(self._inner.value, "close"):
                self._inner.value.close()
            self._inner, self._closed = _Unseen(), True
            self._tokens.clear()
