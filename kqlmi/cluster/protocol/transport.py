"""The transport of a request: whether it left, and the time limit for the request as a whole."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from requests import PreparedRequest, Session

_ID = "x-ms-client-request-id"


class Passage:
    """A request in transit. ``left`` is True if it may have left, ``late`` if its time ran out before it ended."""

    def __init__(self, seconds: float, leave: Callable[[], Any]) -> None:
        """Prepare for a request with a time limit in seconds. ``leave`` is called before the request leaves."""
        self.left = self.late = False
        self.seconds, self._leave, self._lock = seconds, leave, threading.Lock()
        self._carries, self._over = False, False
        self._connection: Any = None
        self._socket: Any = None
        self._timer: threading.Timer | None = None

    def begin(self, *, carries: bool) -> None:
        """Start the timer. ``carries`` distinguishes the request itself from the SDK's own requests before it."""
        self.end()
        self._carries, self._over = carries, False
        self._timer = threading.Timer(self.seconds, self._break_off)
        self._timer.daemon = True
        self._timer.start()

    def take(self, connection: Any, *, sends: bool) -> None:
        """Store the connection in use and, if it ``sends``, that the request leaves."""
        # A connection drops its socket early if the response ends only with the connection.
        self._connection, self._socket = connection, connection.sock
        if sends and self._carries and not self.left:
            self.left = True
            self._leave()

    def end(self) -> None:
        """Stop the timer: the connection may be used for another request from now on."""
        with self._lock:
            self._over, self._connection, self._socket = True, None, None
        if self._timer:
            self._timer.cancel()

    def _break_off(self) -> None:
        # A socket's own timeout starts again with each byte received.
        with self._lock:
            if self._over:
                return
            self.late = True
            found = self._socket or getattr(self._connection, "sock", None)
            found = getattr(found, "socket", found)  # within TLS to a proxy
            if isinstance(found, socket.socket):
                # The method of the plain socket, because the TLS method drops state that another thread is reading with.
                with suppress(OSError):
                    socket.socket.shutdown(found, socket.SHUT_RDWR)


_CURRENT: ContextVar[Passage | None] = ContextVar("passage", default=None)


@contextmanager
def passage(seconds: float, leave: Callable[[], Any]) -> Iterator[Passage]:
    """Yield the passage of the request that this thread sends inside the block."""
    one = Passage(seconds, leave)
    before = _CURRENT.set(one)
    try:
        yield one
    finally:
        _CURRENT.reset(before)
        one.end()


def watch(session: "Session") -> None:
    """Make a session of the HTTP library report each of its requests to the current passage."""
    from requests.adapters import HTTPAdapter

    session.auth = _begin
    for adapter in session.adapters.values():
        if isinstance(adapter, HTTPAdapter):
            adapter.poolmanager.pool_classes_by_scheme = _pools()
            adapter.proxy_manager_for = _through_proxies(adapter.proxy_manager_for)  # type: ignore[method-assign]


def _begin(request: "PreparedRequest") -> "PreparedRequest":
    # The HTTP library calls this last, after the SDK has obtained a token.
    if one := _CURRENT.get():
        one.begin(carries=_ID in request.headers)
    return request


def _through_proxies(made: Callable[..., Any]) -> Callable[..., Any]:
    def manager(*words: Any, **options: Any) -> Any:
        found = made(*words, **options)
        found.pool_classes_by_scheme = _pools()
        return found

    return manager


@cache
def _pools() -> dict[str, Any]:
    """Return urllib3's pools by scheme, whose connections report to the passage of their request."""
    from urllib3 import connectionpool

    return {
        "http": _watched(connectionpool.HTTPConnectionPool),
        "https": _watched(connectionpool.HTTPSConnectionPool),
    }


def _watched(pool: Any) -> Any:
    class Connection(pool.ConnectionCls):  # type: ignore[misc]
        def connect(self) -> None:
            _take(self, sends=False)
            super().connect()

        def endheaders(self, *words: Any, **options: Any) -> None:
            if self.sock is None:
                self.connect()
            _take(self, sends=True)
            super().endheaders(*words, **options)

    class Pool(pool):  # type: ignore[misc]
        ConnectionCls = Connection

    return Pool


def _take(connection: Any, *, sends: bool) -> None:
    if one := _CURRENT.get():
        one.take(connection, sends=sends)
