"""The HTTP face of the local cluster, on loopback only."""

import asyncio
import hmac
import json
import logging
import math
import socket
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.web import Application, RequestHandler, stream_request_body

from kqlmi.local import wire
from kqlmi.local.activity import Run
from kqlmi.local.faults import KustoError, http_error
from kqlmi.local.identities import TENANT_ID
from kqlmi.local.principals import Caller
from kqlmi.local.service import Request, Service
from kqlmi.local.tables import Table

HOST = "127.0.0.1"
MAX_BODY = 16 * 1024 * 1024
_THREADS = 16
_LOG = logging.getLogger(__name__)

_METADATA = {
    "AzureAD": {
        "LoginEndpoint": "https://login.microsoftonline.com",
        "LoginMfaRequired": False,
        "KustoClientAppId": "db662dc1-0cfe-4e1c-a843-19a68e65be58",
        "KustoClientRedirectUri": "https://microsoft/kustoclient",
        "KustoServiceResourceId": "https://kusto.kusto.windows.net",
        "FirstPartyAuthorityUrl": f"https://login.microsoftonline.com/{TENANT_ID}",
    }
}


class Server:
    """A running server; its loop lives in a thread of its own."""

    def __init__(self, service: Service, port: int) -> None:
        """Bind, then serve until ``stop``."""
        self._socket = socket.create_server((HOST, port))  # unlike tornado's own, it is closed where binding fails
        self._socket.settimeout(0)
        self.port: int = self._socket.getsockname()[1]
        service.state.url = f"http://{HOST}:{self.port}"
        self._service = service
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="kqlmi-local")
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kqlmi-local-server", daemon=True)
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """Stop serving, end what runs, and release the port."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._service.cancel_all()
        self._pool.shutdown(cancel_futures=True)
        self._service.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(self._listen())
        self._loop.call_soon(self._ready.set)
        self._loop.run_forever()
        server.stop()
        self._loop.run_until_complete(server.close_all_connections())
        pending = asyncio.all_tasks(self._loop)
        for task in pending:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        self._loop.close()

    async def _listen(self) -> HTTPServer:
        shared = {"service": self._service, "pool": self._pool, "port": self.port}
        routes = [
            (r"/v1/rest/mgmt", _Manage, shared),
            (r"/v1/rest/query", _QueryV1, shared),
            (r"/v2/rest/query", _QueryV2, shared),
            (r"/v1/rest/auth/metadata", _Metadata, shared),
            (r".*", _Nothing, shared),
        ]
        application = Application(routes, log_function=lambda _handler: None)
        # Bodies are counted as they come, so that a large one is refused with an answer; beyond four times the limit
        # the connection is closed.
        server = _PromptServer(application, max_body_size=4 * MAX_BODY)
        server.add_sockets([self._socket])
        return server


class _PromptServer(HTTPServer):
    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        stream.set_nodelay(True)  # otherwise an answer waits 40 ms for an acknowledgement
        super().handle_stream(stream, address)


@stream_request_body
class _Handler(RequestHandler):
    """What all endpoints share: who may call, and how answers and refusals are written."""

    def initialize(self, service: Service, pool: ThreadPoolExecutor, port: int) -> None:
        self.service = service
        self.pool = pool
        self.hosts = {f"{HOST}:{port}", f"localhost:{port}"}
        self.body = bytearray()
        self.received = 0
        self.activity_id = str(uuid.uuid4())

    def data_received(self, chunk: bytes) -> None:
        self.received += len(chunk)
        if self.received <= MAX_BODY:
            self.body += chunk

    @property
    def client_request_id(self) -> str:
        given = str(self.request.headers.get("x-ms-client-request-id", ""))
        return given or f"unspecified;{self.activity_id}"

    async def get(self) -> None:
        await self.answer(self.nothing)

    async def post(self) -> None:
        await self.answer(self.nothing)

    def nothing(self) -> str:
        """Say that there is no such endpoint."""
        raise http_error(404, "NotFound", f"There is no endpoint {self.request.method} {self.request.path}.")

    async def answer(self, work: Callable[[], str]) -> None:
        """Write what ``work`` gives, run in the pool."""
        try:
            self.admit()
            body = await asyncio.get_running_loop().run_in_executor(self.pool, work)
        except KustoError as fault:
            self.refuse(fault)
        except RecursionError:
            self.refuse(http_error(400, "BadRequest", "The request is nested too deep."))
        except Exception:  # noqa: BLE001 - the client must get an answer, whatever went wrong
            _LOG.exception("a request to the local cluster failed")
            self.refuse(http_error(500, "InternalServiceError", "The local cluster failed; see its log."))
        else:
            self.write_json(200, body)

    def admit(self) -> None:
        """Refuse what does not come from this machine on purpose: a web page may point its own name at loopback."""
        origin = self.request.headers.get("Origin")
        if self.request.headers.get("Host", "").lower() not in self.hosts:
            raise http_error(403, "Forbidden", "The Host header must name the loopback address and port.")
        if origin is not None and origin.lower().removeprefix("http://") not in self.hosts:
            raise http_error(403, "Forbidden", "The Origin header must name the loopback address and port.")
        if self.received > MAX_BODY:
            raise http_error(413, "PayloadTooLarge", f"A body must not be larger than {MAX_BODY} bytes.")
        if self.request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise http_error(415, "UnsupportedMediaType", "Send the body without Content-Encoding.")

    def caller(self) -> Caller:
        """Give the owner of the request's token."""
        scheme, _, given = self.request.headers.get("Authorization", "").partition(" ")
        found = None
        if scheme.lower() == "bearer":
            for token, caller in self.service.state.callers.items():
                if hmac.compare_digest(token.encode(), given.strip().encode()):
                    found = caller
        if found is None:
            raise http_error(401, "Unauthorized", "A bearer token of this local cluster is needed.")
        return found

    def refuse(self, fault: KustoError) -> None:
        if fault.status == 401:  # noqa: PLR2004 - HTTP
            self.set_header(
                "WWW-Authenticate", f'Bearer authorization_uri="{_METADATA["AzureAD"]["FirstPartyAuthorityUrl"]}"'
            )
        body = wire.error(
            fault,
            client_request_id=self.client_request_id,
            activity_id=self.activity_id,
            service=self.service.state.name,
        )
        self.write_json(fault.status, body)

    def write_json(self, status: int, body: str) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.set_header("x-ms-client-request-id", self.client_request_id)
        self.set_header("x-ms-activity-id", self.activity_id)
        self.finish(body)

    def write_error(self, status_code: int, **_details: Any) -> None:
        """Write what tornado itself refuses in the same shape."""
        self.refuse(
            http_error(status_code, self._reason.title().replace(" ", ""), f"HTTP {status_code}: {self._reason}")
        )

    def log_exception(self, *_error: Any) -> None:
        """Log nothing here: tornado would write the request, and ``answer`` has logged what matters."""


class _Nothing(_Handler):
    """Any other path."""


class _Metadata(_Handler):
    async def get(self) -> None:
        await self.answer(lambda: json.dumps(_METADATA))


class _Execute(_Handler):
    """An endpoint that takes ``db``, ``csl`` and ``properties``."""

    is_query = True

    def run(self, fields: dict[str, Any], read_only: bool = False) -> str:  # noqa: FBT001, FBT002
        request = self.read(self.caller(), fields, read_only=read_only)
        run = self.service.begin(request, is_query=self.is_query)
        self.activity_id = run.activity_id
        table = self.service.query(request, run) if self.is_query else self.service.manage(request, run)
        return self.write_table(table, run)

    def read(self, caller: Caller, fields: dict[str, Any], *, read_only: bool) -> Request:
        text, database = fields.get("csl"), fields.get("db")
        if not isinstance(text, str) or not isinstance(database, str | None):
            raise http_error(400, "BadRequest", "The body needs the texts 'csl' and 'db'.")
        properties = _object(fields.get("properties"))
        options = dict(_object(properties.get("Options")))
        if read_only or self.request.headers.get("x-ms-readonly", "").lower() == "true":
            options["request_readonly"] = True
        headers = self.request.headers
        return Request(
            caller=caller,
            text=text,
            database=database,
            client_request_id=self.client_request_id,
            application=headers.get("x-ms-app", ""),
            user=headers.get("x-ms-user", ""),
            options=options,
            parameters=_object(properties.get("Parameters")),
        )

    def write_table(self, table: Table, _run: Run) -> str:
        return wire.v1(table)

    async def post(self) -> None:
        await self.answer(lambda: self.run(_object(bytes(self.body))))


class _Manage(_Execute):
    is_query = False


class _QueryV1(_Execute):
    pass


class _QueryV2(_Execute):
    def write_table(self, table: Table, run: Run) -> str:
        return wire.v2(table, client_request_id=run.client_request_id, activity_id=run.activity_id)

    async def get(self) -> None:
        fields = {name: self.get_query_argument(name, None) for name in ("db", "csl", "properties")}
        await self.answer(lambda: self.run(fields, read_only=True))


def _object(value: Any) -> dict[str, Any]:
    """Give a JSON object that may come as such or as text; nothing is the empty object."""
    if isinstance(value, str | bytes) and value:
        try:
            value = json.loads(value, parse_constant=_no_number, parse_float=_finite)
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            what = "The request holds half of a surrogate pair, which is no character."
            raise http_error(400, "BadRequest", what) from error
        except ValueError as error:
            raise http_error(400, "BadRequest", f"The request is not JSON: {error}") from error
    if not value and not isinstance(value, list | bool | int):
        return {}
    if not isinstance(value, dict):
        raise http_error(400, "BadRequest", "A JSON object is expected in the request.")
    return value


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text)
