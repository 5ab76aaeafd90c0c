"""Stand-ins in front of a local cluster: an endpoint with the metadata of any cloud, and a proxy."""

import http.client
import re
import select
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.standins.serving import Answer, Request, serve


@dataclass
class Front:
    """An endpoint that forwards requests to a cluster, with its own metadata about the authority and audience for signing in.

    ``login_endpoint`` is None if it has no metadata, as behind some proxies. ``tokens`` are the bearer tokens that
    arrived; ``metadata`` counts the requests for its metadata.
    """

    cluster: str
    login_endpoint: str | None = None
    url: str = ""
    port: int = 0
    tokens: list[str] = field(default_factory=list)
    metadata: int = 0
    resource_id: str = "https://kusto.kusto.windows.net"

    def answer(self, request: Request) -> Answer:
        if request.route == "/v1/rest/auth/metadata":
            self.metadata += 1
            return (
                Answer(404, b"")
                if self.login_endpoint is None
                else Answer(200, _metadata(self.login_endpoint, self.resource_id))
            )
        self.tokens.append(request.headers.get("Authorization", "").removeprefix("Bearer "))
        kept = {name: value for name, value in request.headers.items() if name.lower() not in {"host", "connection"}}
        connection = http.client.HTTPConnection(urlsplit(self.cluster).netloc)
        try:
            connection.request(request.method, request.path, request.body, kept)
            found = connection.getresponse()
            return Answer(found.status, found.read())
        finally:
            connection.close()


@contextmanager
def before(cluster: str, login_endpoint: str | None = None, tls: ssl.SSLContext | None = None) -> Iterator[Front]:
    """Serve in front of a cluster."""
    front = Front(cluster, login_endpoint)
    with serve(front.answer, tls) as front.port:
        front.url = f"http{'s' if tls else ''}://127.0.0.1:{front.port}"
        yield front


def _metadata(login_endpoint: str, resource_id: str) -> dict[str, Any]:
    return {
        "AzureAD": {
            "LoginEndpoint": login_endpoint,
            "LoginMfaRequired": False,
            "KustoClientAppId": "db662dc1-0cfe-4e1c-a843-19a68e65be58",
            "KustoClientRedirectUri": "https://microsoft/kustoclient",
            "KustoServiceResourceId": resource_id,
            "FirstPartyAuthorityUrl": f"{login_endpoint}/f8cdef31-a31e-4b4a-93e4-5f571e91255a",
        }
    }


@contextmanager
def proxy(ports: Mapping[str, int]) -> Iterator[tuple[str, list[str]]]:
    """Serve an HTTP proxy that maps some host names to local ports; yield its URL, and the hosts that were requested."""
    asked: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            found = re.fullmatch(rb"CONNECT ([^ :]+):443 HTTP/1\.[01]\r\n", self.rfile.readline())
            while self.rfile.readline().strip():
                pass
            host = found[1].decode() if found else ""
            asked.append(host)
            if host not in ports:
                self.wfile.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", ports[host])) as there:
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                _join(self.connection, there)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """Ignore a side that hangs up."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _join(one: socket.socket, other: socket.socket) -> None:
    """Copy bytes in both directions until one side hangs up."""
    ends = {one: other, other: one}
    while True:
        for ready in select.select([*ends], [], [])[0]:
            content = ready.recv(65_536)
            if not content:
                return
            ends[ready].sendall(content)
