"""A proxy on loopback between a client and a local cluster, which injects faults into requests."""

import http.client
import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

_WRITE = re.compile(r"\s*\.(alter|alter-merge|delete)\s")
_HOP_BY_HOP: Final = frozenset({"connection", "content-length", "host", "keep-alive", "transfer-encoding"})
# Closes a socket with a reset.
_NO_LINGER: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Answer:
    """A complete answer, from the cluster or made up by an intermediary."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Exchange:
    """A request in the proxy, and the actions that a fault may take with it."""

    def __init__(self, handler: BaseHTTPRequestHandler, target: str) -> None:
        self._handler, self._target = handler, target
        self._body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        is_azure = handler.command in {"PATCH", "PUT"}
        self.text = handler.command if is_azure else str(json.loads(self._body)["csl"]) if self._body else ""
        self.writes = is_azure or bool(_WRITE.match(self.text))

    @property
    def server_timeout(self) -> str:
        """The server's deadline that accompanies a command or query."""
        return str(json.loads(json.loads(self._body)["properties"])["Options"]["servertimeout"])

    def forward(self) -> Answer:
        """Forward the request to the cluster, and return its answer."""
        connection = http.client.HTTPConnection(self._target)
        try:
            connection.request(self._handler.command, self._handler.path, self._body, _kept(self._handler.headers))
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(), _kept(answer.headers))
        finally:
            connection.close()

    def reply(self, answer: Answer, *, length: int | None = None, more: bool = True) -> None:
        """Send the client an answer, with its real or another length; close the connection afterwards unless ``more``."""
        self._handler.send_response(answer.status)
        for name, value in answer.headers.items():
            self._handler.send_header(name, value)
        self._handler.send_header("Content-Length", str(len(answer.body) if length is None else length))
        self._handler.end_headers()
        self._handler.wfile.write(answer.body)
        if not more:
            self._hang_up()

    def reset(self) -> None:
        """Reset the connection."""
        self._handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._hang_up()

    def outwait(self) -> None:
        """Wait until the client gives up or dies."""
        self._handler.close_connection = True
        assert self._handler.connection.recv(1) == b""

    def drip(self) -> None:
        """Send the client one byte after another until it gives up."""
        self._handler.close_connection = True
        self._handler.send_response(200)
        self._handler.end_headers()
        there = self._handler.connection
        there.settimeout(0.02)
        with suppress(OSError):
            while True:
                there.sendall(b" ")
                with suppress(TimeoutError):
                    if not there.recv(1):
                        break

    def _hang_up(self) -> None:
        self._handler.close_connection = True
        self._handler.rfile.close()
        self._handler.connection.close()


Fault = Callable[[Exchange], None]


class Proxy:
    """A running proxy, which forwards every request.

    ``fault`` chooses a fault instead, by the request and the number of write requests so far. ``writes`` contains the texts
    of the write requests, in order of arrival. ``over`` is set when a fault has ended.
    """

    def __init__(self, url: str) -> None:
        self.fault: Callable[[Exchange, int], Fault | None] = lambda _, __: None
        self.writes: list[str] = []
        self.over = threading.Event()
        self._errors: list[BaseException] = []
        self._open: set[socket.socket] = set()
        proxy, target = self, urlsplit(url).netloc

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # several requests on one connection, as the cluster itself supports
            disable_nagle_algorithm = True  # otherwise an answer waits 40 ms for an acknowledgement

            def setup(self) -> None:
                super().setup()
                proxy._open.add(self.connection)

            def finish(self) -> None:
                proxy._open.discard(self.connection)
                super().finish()

            def do_GET(self) -> None:
                proxy._meet(Exchange(self, target))

            def do_POST(self) -> None:
                self.do_GET()

            def do_PATCH(self) -> None:
                self.do_GET()

            def do_PUT(self) -> None:
                self.do_GET()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False  # so that closing it waits for them
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and close all connections: a closed client keeps one until garbage collection."""
        self._server.shutdown()
        self._thread.join()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        assert self._errors == []

    def fail(self, nth: int, fault: Fault) -> None:
        """Inject a fault into the ``nth`` write request, counted from 1."""
        self.fault = lambda exchange, count: fault if exchange.writes and count == nth else None

    def _meet(self, exchange: Exchange) -> None:
        if exchange.writes:
            self.writes.append(exchange.text)
        fault = self.fault(exchange, len(self.writes))
        if fault is None:
            exchange.reply(exchange.forward())
            return
        try:
            fault(exchange)
        except BaseException as error:
            self._errors.append(error)
            raise
        finally:
            self.over.set()


def _kept(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}
