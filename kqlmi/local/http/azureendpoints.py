"""The endpoints of the Azure services around Kusto: Azure Resource Manager, the ingestion queues, and uploads."""

import json
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import unquote

from kqlmi.local.azure import arm
from kqlmi.local.dispatch.registry import Endpoint
from kqlmi.local.http.handlers import MAX_BODY, Handler, answered
from kqlmi.local.ingest import ingestion_queue, statusqueues
from kqlmi.local.state.assignments import ArmError
from kqlmi.local.values.faults import http_error


class Arm(Handler):
    """Azure Resource Manager, which has its own tokens and error format."""

    largest = MAX_BODY

    def authenticate(self) -> None:
        state = self.service.state
        self.role = self.bearer({state.arm_token: "Owner", **state.arm_tokens})

    @answered
    def get(self, *_path: Any) -> str:
        request, state = self.request, self.service.state
        query = {name: self.get_query_argument(name) for name in request.query_arguments}
        try:
            path = unquote(request.path)
            arm.require_role(self.role, request.method or "", path)
            given = arm.handle(
                state,
                request.method or "",
                path,
                query=query,
                body=bytes(self.body),
                headers=request.headers,
                role=self.role,
            )
        except ArmError as error:
            self.set_status(error.status)
            return json.dumps({"error": {"code": error.code, "message": error.message}})
        self.set_status(given.status)
        for name, value in given.headers.items():
            self.set_header(name, value)
        return "" if given.body is None else json.dumps(given.body)

    post = put = patch = delete = get


class _Signed(Handler):
    """A storage service, which authenticates by the signature in the URL and responds as Azure Storage does."""

    largest = MAX_BODY

    def authenticate(self) -> None:
        ingestion_queue.require_signature(self.service.state, self.get_query_argument("sig", ""))

    def write_json(self, status: int, body: str) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/xml" if body.startswith("<") else "application/json")
        self.set_header("Last-Modified", format_datetime(datetime.now(UTC), usegmt=True))
        self.set_header("ETag", f'"{self.activity_id}"')
        self.complete(body)


class Queue(_Signed):
    """The queue to which ingestion clients send messages."""

    @answered
    def post(self, *_path: Any) -> str:
        answer = ingestion_queue.accept(self.service.state, bytes(self.body))
        self.set_status(201)
        return answer


class StatusQueue(_Signed):
    """A status queue, whose messages clients peek at, receive and delete."""

    @answered
    def get(self, queue: str, message: str | None = None) -> str:
        if message is not None:
            self.nothing()
        return statusqueues.read(
            self.service.state,
            queue,
            count=self.get_query_argument("numofmessages", "1"),
            hidden=self.get_query_argument("visibilitytimeout", "30"),
            peeks=self.get_query_argument("peekonly", "") == "true",
        )

    @answered
    def delete(self, queue: str, message: str | None = None) -> str:
        receipt = self.get_query_argument("popreceipt", "")
        answer = statusqueues.delete(self.service.state, queue, message or "", receipt)
        self.set_status(204)
        return answer


class Upload(_Signed):
    """The container to which ingestion clients upload files."""

    @answered
    def put(self, name: str) -> str:
        if self.endpoint is not Endpoint.INGEST:
            self.nothing()
        if any(self.get_query_arguments("comp")):
            raise http_error(400, "InvalidInput", "The local cluster does not support uploads in blocks.")
        replaces = self.request.headers.get("If-None-Match") != "*"
        self.service.uploads.take(name, bytes(self.body), replaces=replaces)
        self.set_status(201)
        return ""
