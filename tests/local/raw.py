"""Raw requests to a local cluster, for what no client would send, and for clients that leave before the answer."""

import json
import socket
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

_SECONDS = 30.0


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout=_SECONDS)


def head(cluster: Any, line: str = "POST /v1/rest/mgmt", **headers: str | None) -> bytes:
    """Return a request up to its body; a header that is None is omitted."""
    given = {"Host": urlsplit(cluster.url).netloc, "Authorization": f"Bearer {cluster.token}", **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in given.items() if value is not None]
    return "\r\n".join([f"{line} HTTP/1.1", *lines, "", ""]).encode()


def ask(cluster: Any, text: str, name: str = "", *, line: str = "POST /v2/rest/query") -> socket.socket:
    """Send a query or command, and return the connection on which the answer arrives."""
    body = json.dumps({"db": "D", "csl": text}).encode()
    connection = connect(cluster.url)
    connection.sendall(head(cluster, line, Content_Length=str(len(body)), x_ms_client_request_id=name) + body)
    return connection


def answer(connection: socket.socket) -> tuple[int, Any]:
    """Return status and JSON of one answer."""
    with connection.makefile("rb") as file:
        status = int(file.readline().split()[1])
        length = 0
        while line := file.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        return status, json.loads(file.read(length))


def is_closed_after(connection: socket.socket, most: int) -> bool:
    """Send at most ``most`` bytes, and return whether the other side closed the connection in the meantime."""
    piece = b" " * 65_536
    with suppress(OSError):
        for _ in range(most // len(piece)):
            connection.sendall(piece)
        return False
    return True
