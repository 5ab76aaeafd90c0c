"""What all HTTP endpoints of the local cluster share: who may call, and how answers and refusals are written."""

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
"""So much of a body is read and dropped after the answer, before the connection is closed."""
_LOG = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Later:
    """What is left of a request that may take long, and how it is answered."""

    task: Task
    answer: Callable[[], str]


def answered(work: Callable[..., str | Later]) -> Callable[..., Coroutine[Any, Any, None]]:
    """Return the method of a handler that answers with what ``work`` returns."""

    @wraps(work)
    async def method(handler: "Handler", *path: Any) -> None:
        await handler.answer(partial(work, handler, *path))

    return method


@stream_request_body
class Handler(RequestHandler):
    """What all endpoints share: who may call, and how answers and refusals are written.

    A request is admitted, or refused, before its body comes. ``largest`` is how long a body may be: where nobody has to
    say who they are, none is taken.
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
        """Refuse what does not come from this machine on purpose: a web page may point its own name at loopback."""
        headers = self.request.headers
        origin = headers.get("Origin")
        if headers.get("Host", "").lower() not in self.hosts:
            raise http_error(403, "Forbidden", "The Host header must name the loopback address and port.")
        if origin is not None and origin.lower().removeprefix("http://") not in self.hosts:
            raise http_error(403, "Forbidden", "The Origin header must name the loopback address and port.")
        self.authenticate()
        declared = headers.get("Content-Length", "").lstrip("0")
        # One that is no number is refused by tornado.
        if declared.isdecimal() and (len(declared) > _DIGITS or int(declared) > self.largest):
            raise self.too_large()
        if headers.get("Content-Encoding", "identity").lower() != "identity":
            raise http_error(415, "UnsupportedMediaType", "Send the body without Content-Encoding.")

    def authenticate(self) -> None:
        """Refuse who may not call."""

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
        self.end_what_is_for_nobody()

    def end_what_is_for_nobody(self) -> None:
        """End a request whose client has closed the connection, if it only reads."""
        if self.is_gone and self.task and not self.task.writes:
            self.task.run.cancel("the client has closed the connection")

    @property
    def client_request_id(self) -> str:
        given = str(self.request.headers.get("x-ms-client-request-id", ""))
        return given or f"unspecified;{self.activity_id}"

    def nothing(self, *_path: Any) -> str:
        """Refuse a path that no endpoint has."""
        raise http_error(404, "NotFound", f"There is no endpoint {self.request.method} {self.request.path}.")

    def not_allowed(self, *_path: Any) -> str:
        """Refuse a method that the endpoint does not take."""
        raise http_error(405, "MethodNotAllowed", "HTTP 405: Method Not Allowed")

    get = post = answered(nothing)
    put = head = patch = delete = options = answered(not_allowed)

    async def answer(self, work: Callable[[], str | Later]) -> None:
        """Write what ``work`` gives, and do what it leaves for later in workers of its own."""
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
            self.refuse(http_error(400, "BadRequest", "The request is nested too deep."))
        except Exception:  # noqa: BLE001 - the client must get an answer, whatever went wrong
            _LOG.exception("a request to the local cluster failed")
            self.refuse(http_error(500, "InternalServiceError", "The local cluster failed; see its log."))
        else:
            self.write_json(self.get_status(), body)

    async def begin(self, work: Callable[[], T]) -> T:
        """Do the first part of a request, which is short."""
        return await self.lanes.short(partial(self.kept, work))

    async def wait(self, later: Later) -> str:
        """Do what may take long."""
        self.task = task = later.task
        self.end_what_is_for_nobody()
        try:
            return await self.lanes.long(task.load, later.answer, task.run)
        except KustoError as error:
            self.service.state.activity.end(task.run, error)  # which may not have begun
            raise

    def kept(self, work: Callable[[], T]) -> T:
        """Do the work; what it changed survives before it is answered, whether it succeeded or not."""
        try:
            return work()
        finally:
            self.service.state.keep()

    @property
    def endpoint(self) -> Endpoint:
        """Which of the two services is asked."""
        port = self.hosts[self.request.headers["Host"].lower()]
        return Endpoint.INGEST if port == self.ingest_port else Endpoint.QUERY

    def bearer(self, tokens: Mapping[str, T]) -> T:
        """Return what belongs to the request's token."""
        scheme, _, given = self.request.headers.get("Authorization", "").partition(" ")
        presented = given.strip().encode()
        found = [owner for token, owner in tokens.items() if hmac.compare_digest(token.encode(), presented)]
        if not found or scheme.lower() != "bearer":
            raise http_error(401, "Unauthorized", "A bearer token of this local cluster is needed.")
        return found[-1]

    def refuse(self, error: KustoError | HTTPError) -> None:
        """Write a refusal, also one of tornado's own, as of a query argument that is no UTF-8."""
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
        """Finish the answer, or send it while some of a body may come that nobody will read.

        Where a connection is closed over unread bytes, the client may never see the answer.
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
        """Write what tornado itself refuses in the same shape."""
        code = self._reason.title().replace(" ", "")
        self.refuse(http_error(status_code, code, f"HTTP {status_code}: {self._reason}"))

    def log_exception(self, *_error: Any) -> None:
        """Log nothing here: tornado would write the request, and ``answer`` has logged what matters."""


class Nothing(Handler):
    """Any other path."""

    def authenticate(self) -> None:
        self.nothing()
