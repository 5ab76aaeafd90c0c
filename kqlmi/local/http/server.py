"""The HTTP server of the local cluster, on loopback only."""

import asyncio
import socket
import threading
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.web import Application

from kqlmi.local.commands.ingestion import QUEUE
from kqlmi.local.engine.lanes import Lanes
from kqlmi.local.http import azureendpoints, endpoints
from kqlmi.local.http.handlers import HOST, Nothing
from kqlmi.local.http.service import Service
from kqlmi.local.ingest.statusqueues import FAILED, SUCCEEDED
from kqlmi.local.state.entities import UPLOADS

_ANY_SIZE = 1 << 62


class Server:
    """A running server, whose event loop runs in its own thread."""

    def __init__(self, service: Service, port: int) -> None:
        """Bind, then serve until ``stop``."""
        # Unlike tornado's, this socket is closed if binding fails. The ingestion endpoint has its own port.
        self._sockets = [socket.create_server((HOST, wanted)) for wanted in (port, 0)]
        for one in self._sockets:
            one.settimeout(0)
        self.port, self._ingest_port = (int(one.getsockname()[1]) for one in self._sockets)
        service.state.url, service.state.ingest_url = (f"http://{HOST}:{one}" for one in (self.port, self._ingest_port))
        self._service = service
        self._lanes = Lanes()
        self._ready, self._stopped = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=asyncio.run, args=[self._run()], name="kqlmi-local-server", daemon=True)
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """Stop serving, cancel what is running, and release the ports."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()
        self._service.cancel_all()
        self._lanes.close()
        self._service.close()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = self._listen()
        self._ready.set()
        await self._stopped.wait()
        server.stop()
        await server.close_all_connections()

    def _listen(self) -> HTTPServer:
        shared = {"service": self._service, "lanes": self._lanes, "ports": (self.port, self._ingest_port)}
        routes = [
            (r"/v1/rest/mgmt", endpoints.Manage, shared),
            (r"/v1/rest/query", endpoints.QueryV1, shared),
            (r"/v2/rest/query", endpoints.QueryV2, shared),
            (r"/v1/rest/ingest/.*", endpoints.Streaming, shared),
            (r"/v1/rest/auth/metadata", endpoints.Metadata, shared),
            (r"/subscriptions/.*", azureendpoints.Arm, shared),
            (rf"/{QUEUE}/messages", azureendpoints.Queue, shared),
            (rf"/({FAILED}|{SUCCEEDED})/messages(?:/([^/]+))?", azureendpoints.StatusQueue, shared),
            (rf"/{UPLOADS}/([^/]+)", azureendpoints.Upload, shared),
            (r".*", Nothing, shared),
        ]
        application = Application(routes, log_function=lambda _handler: None)
        # Each handler responds to a body that is too large for it; tornado would just close the connection.
        server = _PromptServer(application, max_body_size=_ANY_SIZE)
        server.add_sockets(self._sockets)
        return server


class _PromptServer(HTTPServer):
    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        stream.set_nodelay(True)  # otherwise a response waits 40 ms for an acknowledgement
        super().handle_stream(stream, address)
