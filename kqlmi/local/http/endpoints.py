"""The endpoints that a Kusto client calls: management, queries and sign-in metadata."""

import json
import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from kqlmi.local.engine.lanes import Load
from kqlmi.local.http import wire
from kqlmi.local.http.handlers import MAX_BODY, Handler, Later, answered
from kqlmi.local.http.service import Request
from kqlmi.local.state.activity import Run
from kqlmi.local.values.faults import http_error, unsupported
from kqlmi.local.values.tables import Table

# The values of the public cloud, as in azure-kusto-data.
_METADATA = {
    "AzureAD": {
        "LoginEndpoint": "https://login.microsoftonline.com",
        "LoginMfaRequired": False,
        "KustoClientAppId": "db662dc1-0cfe-4e1c-a843-19a68e65be58",
        "KustoClientRedirectUri": "http://localhost",
        "KustoServiceResourceId": "https://kusto.kusto.windows.net",
        "FirstPartyAuthorityUrl": "https://login.microsoftonline.com/f8cdef31-a31e-4b4a-93e4-5f571e91255a",
    }
}


_SHORT = 65_536
T = TypeVar("T")


class Metadata(Handler):
    """The metadata for signing in."""

    @answered
    def get(self, *_path: Any) -> str:
        return json.dumps(_METADATA)


class _Execute(Handler):
    """An endpoint that takes ``db``, ``csl`` and ``properties``."""

    is_query = True
    largest = MAX_BODY

    def authenticate(self) -> None:
        self.caller = self.bearer(self.service.state.callers)

    async def begin(self, work: Callable[[], T]) -> T:
        """Run ``work`` in the workers for long requests if the body is long: parsing takes seconds per million characters."""
        if len(self.body) <= _SHORT:
            return await self.lanes.short(work)
        return await self.lanes.long(Load.QUERY if self.is_query else Load.COMMAND, work)

    def run(self, fields: dict[str, Any], *, read_only: bool = False) -> str | Later:
        """Respond to a short request, and defer a long one."""
        task = self.service.begin(self.read(fields, read_only=read_only), is_query=self.is_query)
        self.activity_id = task.run.activity_id
        # A request that only reads does not wait for another one's change to be saved, which may be large.
        work = partial(self.kept, task.work) if task.writes else task.work
        later = Later(task, lambda: self.write_tables(work(), task.run))
        return later.answer() if task.load is Load.SHORT else later

    def read(self, fields: dict[str, Any], *, read_only: bool) -> Request:
        text, database = fields.get("csl"), fields.get("db")
        if not isinstance(text, str) or not isinstance(database, str | None):
            raise http_error(400, "BadRequest", "The body needs the strings 'csl' and 'db'.")
        properties = _object(fields.get("properties"))
        options = dict(_object(properties.get("Options")))
        if read_only or self.request.headers.get("x-ms-readonly", "").lower() == "true":
            options["request_readonly"] = True
        headers = self.request.headers
        return Request(
            caller=self.caller,
            text=text,
            database=database,
            client_request_id=self.client_request_id,
            application=headers.get("x-ms-app", ""),
            user=headers.get("x-ms-user", ""),
            options=options,
            parameters=_object(properties.get("Parameters")),
            endpoint=self.endpoint,
        )

    def write_tables(self, tables: tuple[Table, ...], _run: Run) -> str:
        return wire.v1(*tables)

    @answered
    def post(self, *_path: Any) -> str | Later:
        return self.run(_object(bytes(self.body)))


class Manage(_Execute):
    """Management commands."""

    is_query = False


class QueryV1(_Execute):
    """Queries with v1 responses."""


class QueryV2(_Execute):
    """Queries with v2 responses."""

    def write_tables(self, tables: tuple[Table, ...], run: Run) -> str:
        return wire.v2(*tables, client_request_id=run.client_request_id, activity_id=run.activity_id)

    @answered
    def get(self, *_path: Any) -> str | Later:
        fields = {name: self.get_query_argument(name, None) for name in ("db", "csl", "properties")}
        return self.run(fields, read_only=True)


class Streaming(Handler):
    """Streaming ingestion, which is not supported."""

    def authenticate(self) -> None:
        self.bearer(self.service.state.callers)
        raise unsupported("streaming ingestion")


def _object(value: Any) -> dict[str, Any]:
    """Return a JSON object, which may be passed as a string; an absent one is empty."""
    if isinstance(value, str | bytes) and value:
        try:
            value = json.loads(value, parse_constant=_not_a_number, parse_float=_finite)
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            what = "The request contains an unpaired surrogate."
            raise http_error(400, "BadRequest", what) from error
        except ValueError as error:
            raise http_error(400, "BadRequest", f"The request is not JSON: {error}") from error
    if not value and not isinstance(value, list | bool | int):
        return {}
    if not isinstance(value, dict):
        raise http_error(400, "BadRequest", "The request must contain a JSON object.")
    return value


def _not_a_number(word: str) -> float:
    raise ValueError(f"{word} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _not_a_number(text)
