"""Messages to the ingestion queue, as the Azure queue client writes them."""

import base64
import binascii
import hmac
import json
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

from kqlmi.local.ingest.statusqueues import DO_NOT_REPORT, head, messages
from kqlmi.local.state.entities import UPLOADED, UPLOADS, IngestionJob, Report
from kqlmi.local.state.state import State
from kqlmi.local.values import kusto_time, lenient_json
from kqlmi.local.values.faults import http_error

_FLOW = "ingest.sdk_queued"


def require_signature(state: State, given: str) -> None:
    """Raise unless a URL has the signature of this cluster."""
    if not hmac.compare_digest(given.encode(), state.signature.encode()):
        raise http_error(403, "AuthenticationFailed", "The signature of the URL was not issued by this local cluster.")


def accept(state: State, body: bytes) -> str:
    """Queue the file that a message names, and return the response that the client expects."""
    job = _job(state, _message(body))
    state.change(lambda w: replace(w, jobs=(*w.jobs, job)))
    state.work.set()
    return messages([head(Report("", visible=kusto_time.now(), receipt="kqlmi"))])


def _message(body: bytes) -> dict[str, Any]:
    try:
        text = body.decode("utf-8")
        if "<!" in text:  # entities and document types are not allowed
            raise http_error(400, "InvalidXmlDocument", "The message must be plain XML.")
        content = ET.fromstring(text).findtext("MessageText") or ""  # noqa: S314 - see above
        found = json.loads(base64.b64decode(content, validate=True))
    except (ET.ParseError, binascii.Error, ValueError, RecursionError) as error:
        raise http_error(400, "InvalidXmlDocument", "The message must be UTF-8 XML with JSON in base64.") from error
    if not isinstance(found, dict) or not lenient_json.is_text(found):
        raise http_error(400, "InvalidInput", "The message must be a JSON object.")
    return found


def _job(state: State, message: dict[str, Any]) -> IngestionJob:
    properties = message.get("AdditionalProperties")
    names = ("DatabaseName", "TableName", "BlobPath")
    database, table, source = (message.get(name) for name in names)
    if not (isinstance(properties, dict) and all(isinstance(one, str) and one for one in (database, table, source))):
        raise http_error(400, "InvalidInput", f"The message needs {', '.join(names)} and AdditionalProperties.")
    caller = state.authorizations.get(str(properties.get("authorizationContext")))
    if caller is None:
        raise http_error(
            403, "AuthenticationFailed", "The message has no identity token that was issued by this local cluster."
        )
    uploaded = f"{state.ingest_url}/{UPLOADS}/"
    if str(source).startswith(uploaded):
        source = UPLOADED + str(source).removeprefix(uploaded).partition("?")[0]
    elif str(source).startswith(UPLOADED):
        raise http_error(400, "InvalidInput", "BlobPath must be a URL.")
    level, identifier = _report_level(message), str(message.get("Id", ""))
    return IngestionJob(str(database), str(table), str(source), properties, caller, _FLOW, identifier, level)


def _report_level(message: dict[str, Any]) -> int:
    """Return the level of reports, which are sent to queues only; by default, nothing is reported."""
    level, method = message.get("ReportLevel", DO_NOT_REPORT), message.get("ReportMethod", 0)
    if level not in range(3) or isinstance(level, bool):
        raise http_error(400, "InvalidInput", "ReportLevel must be 0, 1 or 2.")
    if level != DO_NOT_REPORT and method != 0:
        raise http_error(400, "InvalidInput", "The local cluster reports only to queues: ReportMethod must be 0.")
    return int(level)
