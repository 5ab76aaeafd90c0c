"""What all HTTP endpoints of the local cluster share: who may call, and how answers and refusals are written."""

import asyncio
import hmac
import logging
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from tornado.web import HTTPError, RequestHandler, stream_request_body

from kqlmi.local import wire
from kqlmi.local.commands.registry import Endpoint
from kqlmi.local.faults import KustoError, http_error
from kqlmi.local.identities import TENANT_ID
from kqlmi.local.service import Service

HOST = "127.0.0.1"
MAX_BODY = 16 * 1024 * 1024
AUTHORITY = f"https://login.microsoftonline.com/{TENANT_ID}"
_LOG = logging.getLogger(__name__)

T = TypeVar("T")


@stream_request_body
class Handler(RequestHandler):
    """What all endpoints share: who may call, and how answers and refusals are written."""

    def initialize(self, service: Service, pool: ThreadPoolExecutor, ports: tuple[int, int]) -> None:
        self.service = service
        self.pool = pool
        self.hosts = {f"{host}:{port}": port for host in (HOST, "localhost") for port in ports}
        self.ingest_port = ports[1]
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
            body = await asyncio.get_running_loop().run_in_executor(self.pool, self.kept, work)
        except KustoError as fault:
            self.refuse(fault)
        except HTTPError as error:  # tornado's own, as for a query argument that is no UTF-8
            self.refuse(http_error(error.status_code, "BadRequest", "The request is malformed."))
        except RecursionError:
            self.refuse(http_error(400, "BadRequest", "The request is nested too deep."))
        except Exception:  # noqa: BLE001 - the client must get an answer, whatever went wrong
            _LOG.exception("a request to the local cluster failed")
            self.refuse(http_error(500, "InternalServiceError", "The local cluster failed; see its log."))
        else:
            self.write_json(self.get_status(), body)

    def kept(self, work: Callable[[], str]) -> str:
        """Do the work; what it changed survives before it is answered, whether it succeeded or not."""
        try:
            return work()
        finally:
            self.service.state.keep()

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

    @property
    def endpoint(self) -> Endpoint:
        """Which of the two services is asked."""
        port = self.hosts[self.request.headers["Host"].lower()]
        return Endpoint.INGEST if port == self.ingest_port else Endpoint.QUERY

    def bearer(self, tokens: Mapping[str, T]) -> T:
        """Give what belongs to the request's token."""
        scheme, _, given = self.request.headers.get("Authorization", "").partition(" ")
        found = None
        if scheme.lower() == "bearer":
            for token, owner in tokens.items():
                if hmac.compare_digest(token.encode(), given.strip().encode()):
                    found = owner
        if found is None:
            raise http_error(401, "Unauthorized", "A bearer token of this local cluster is needed.")
        return found

    def refuse(self, fault: KustoError) -> None:
        if fault.status == 401:  # noqa: PLR2004 - HTTP
            self.set_header("WWW-Authenticate", f'Bearer authorization_uri="{AUTHORITY}"')
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
        self.finish(body or None)

    def write_error(self, status_code: int, **_details: Any) -> None:
        """Write what tornado itself refuses in the same shape."""
        self.refuse(
            http_error(status_code, self._reason.title().replace(" ", ""), f"HTTP {status_code}: {self._reason}")
        )

    def log_exception(self, *_error: Any) -> None:
        """Log nothing here: tornado would write the request, and ``answer`` has logged what matters."""


class Nothing(Handler):
    """Any other path."""
