"""The base class of the local cluster's HTTP endpoints: authentication, limits, responses and errors."""

import hmac
import logging
import uuid
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, TypeVar

from tornado.web import HTTPError, RequestHandler, stream_request_body

from kqlmi.local.dispatch.registry import Endpoint
from kqlmi.local.engine.lanes import Lanes
from kqlmi.local.http import wire
from kqlmi.local.http.service import Service, Task
from kqlmi.local.values.faults import KustoError, http_error
from kqlmi.local.values.identities import TENANT_ID

HOST = "127.0.0.1"
MAX_BODY = 16 * 1024 * 1024
AUTHORITY = f"https://login.microsoftonline.com/{TENANT_ID}"
_DIGITS = len(str(MAX_BODY))
_LINGER = 1024 * 1024
"""The number of bytes of a body that are read and dropped after the response, before the connection is closed."""
_LOG = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Later:
    """The rest of a request that may take long, and the function that builds its response."""

    task: Task
    answer: Callable[[], str]


def answered(work: Callable[..., str | Later]) -> Callable[..., Coroutine[Any, Any, None]]:
    """Return a handler method that responds with the result of ``work``."""

    @wraps(work)
    async def method(handler: "Handler", *path: Any) -> None:
        await handler.answer(partial(work, handler, *path))

    return method


@stream_request_body
class Handler(RequestHandler):
    """The base class of all endpoints: authentication, limits, responses and errors.

    A request is admitted or refused before its body arrives. ``largest`` is the maximum size of a body: 0 unless the
    endpoint authenticates its clients.
    """

    largest = 0

    def initialize(self, service: Service, lanes: Lanes, ports: tuple[int, int]) -> None:
        self.service = service
        self.lanes = lanes
        self.hosts = {f"{host}:{port}": port for host in (HOST, "localhost") for port in ports}
        self.ingest_port = ports[1]
        self.body = bytearray()
        self.dropped = 0
        self.is_coming, self.is_refused, self.is_gone = True, False, False
        self.task: Task | None = None
        self.activity_id = str(uuid.uuid4())

    def prepare(self) -> None:
        try:
            self.admit()
        except (KustoError, HTTPError) as error:
            self.refuse(error)

    def admit(self) -> None:
        """Raise if the request is unauthenticated or too large, or may come from a web page whose name resolves to loopback."""
        headers = self.request.headers
        origin = headers.get("Origin")
        if headers.get("Host", "").lower() not in self.hosts:
            raise http_error(403, "Forbidden", "The Host header must name the loopback address and port.")
        if origin is not None and origin.lower().removeprefix("http://") not in self.hosts:
            raise http_error(403, "Forbidden", "The Origin header must name the loopback address and port.")
        self.authenticate()
        declared = headers.get("Content-Length", "").lstrip("0")
        # tornado refuses a length that is not a number.
        if declared.isdecimal() and (len(declared) > _DIGITS or int(declared) > self.largest):
            raise self.too_large()
        if headers.get("Content-Encoding", "identity").lower() != "identity":
            raise http_error(415, "UnsupportedMediaType", "Send the body without Content-Encoding.")

    def authenticate(self) -> None:
        """Raise if the client is not authorized to call."""

    def too_large(self) -> KustoError:
        return http_error(413, "PayloadTooLarge", f"A body must not be larger than {self.largest} bytes.")

    def data_received(self, chunk: bytes) -> None:
        if not self.is_refused and len(self.body) + len(chunk) > self.largest:
            self.body.clear()
            self.refuse(self.too_large())
        if not self.is_refused:
            self.body += chunk
            return
        self.dropped += len(chunk)
        if self.dropped > _LINGER:
            self.finish()

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self.is_gone = True
        self.cancel_if_gone()

    def cancel_if_gone(self) -> None:
        """Cancel a request that only reads if its client has closed the connection."""
        if self.is_gone and self.task and not self.task.writes:
            self.task.run.cancel("the client has closed the connection")

    @property
    def client_request_id(self) -> str:
        given = str(self.request.headers.get("x-ms-client-request-id", ""))
        return given or f"unspecified;{self.activity_id}"

    def nothing(self, *_path: Any) -> str:
        """Raise for a path without an endpoint."""
        raise http_error(404, "NotFound", f"The endpoint {self.request.method} {self.request.path} does not exist.")

    def not_allowed(self, *_path: Any) -> str:
        """Raise for a method that the endpoint does not support."""
        raise http_error(405, "MethodNotAllowed", "HTTP 405: Method Not Allowed")

    get = post = answered(nothing)
    put = head = patch = delete = options = answered(not_allowed)

    async def answer(self, work: Callable[[], str | Later]) -> None:
        """Respond with the result of ``work``; if it is deferred, run the rest in the workers for long requests."""
        self.is_coming = False
        if self.is_refused:
            self.finish()
            return
        try:
            found = await self.begin(work)
            body = found if isinstance(found, str) else await self.wait(found)
        except (KustoError, HTTPError) as error:
            self.refuse(error)
        except RecursionError:
            self.refuse(http_error(400, "BadRequest", "The request is nested too deeply."))
        except Exception:  # noqa: BLE001 - the client must get a response, whatever went wrong
            _LOG.exception("a request to the local cluster failed")
            self.refuse(http_error(500, "InternalServiceError", "The local cluster failed; see its log."))
        else:
            self.write_json(self.get_status(), body)

    async def begin(self, work: Callable[[], T]) -> T:
        """Run the first part of a request, which is short."""
        return await self.lanes.short(partial(self.kept, work))

    async def wait(self, later: Later) -> str:
        """Run the part of a request that may take long."""
        self.task = task = later.task
        self.cancel_if_gone()
        try:
            return await self.lanes.long(task.load, later.answer, task.run)
        except KustoError as error:
            self.service.state.activity.end(task.run, error)  # it may not have begun
            raise

    def kept(self, work: Callable[[], T]) -> T:
        """Run ``work``, and save its changes before the response is sent, whether or not it succeeded."""
        try:
            return work()
        finally:
            self.service.state.keep()

    @property
    def endpoint(self) -> Endpoint:
        """The service that the request was sent to."""
        port = self.hosts[self.request.headers["Host"].lower()]
        return Endpoint.INGEST if port == self.ingest_port else Endpoint.QUERY

    def bearer(self, tokens: Mapping[str, T]) -> T:
        """Return the value of the request's token in ``tokens``, or raise without a valid one."""
        scheme, _, given = self.request.headers.get("Authorization", "").partition(" ")
        presented = given.strip().encode()
        found = [owner for token, owner in tokens.items() if hmac.compare_digest(token.encode(), presented)]
        if not found or scheme.lower() != "bearer":
            raise http_error(401, "Unauthorized", "A bearer token of this local cluster is required.")
        return found[-1]

    def refuse(self, error: KustoError | HTTPError) -> None:
        """Respond with an error, which may be tornado's, for example for a query argument that is not UTF-8."""
        if isinstance(error, HTTPError):
            error = http_error(error.status_code, "BadRequest", "The request is malformed.")
        if error.status == 401:  # noqa: PLR2004 - HTTP
            self.set_header("WWW-Authenticate", f'Bearer authorization_uri="{AUTHORITY}"')
        body = wire.error(
            error,
            client_request_id=self.client_request_id,
            activity_id=self.activity_id,
            service=self.service.state.name,
        )
        self.write_json(error.status, body)

    def write_json(self, status: int, body: str) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.set_header("x-ms-client-request-id", self.client_request_id)
        self.set_header("x-ms-activity-id", self.activity_id)
        self.complete(body)

    def complete(self, body: str) -> None:
        """Finish the response; if a body is still arriving, send the response and keep the connection open.

        If a connection is closed with unread bytes, the client may never see the response.
        """
        if not self.is_coming or "Expect" in self.request.headers:
            self.finish(body or None)
            return
        self.is_refused = True
        content = body.encode()
        self.set_header("Content-Length", str(len(content)))
        self.write(content)
        self.flush()

    def write_error(self, status_code: int, **_details: Any) -> None:
        """Respond to tornado's own errors in the same format."""
        code = self._reason.title().replace(" ", "")
        self.refuse(http_error(status_code, code, f"HTTP {status_code}: {self._reason}"))

    def log_exception(self, *_error: Any) -> None:
        """Log nothing: tornado would log the request, and ``answer`` has already logged a failure."""


class Nothing(Handler):
    """The handler of all other paths."""

    def authenticate(self) -> None:
        self.nothing()
