"""The two queues that report to ingestion clients the outcome of the files that they queued."""

import base64
import json
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC
from email.utils import format_datetime
from typing import Final
from xml.etree import ElementTree as ET

from kqlmi.local.state.activity import IngestionFailure
from kqlmi.local.state.entities import IngestionJob, Report
from kqlmi.local.state.state import State, with_entry
from kqlmi.local.values import kusto_time
from kqlmi.local.values.faults import http_error

FAILED: Final = "kqlmi-failed"
SUCCEEDED: Final = "kqlmi-successful"

FAILURES_ONLY, DO_NOT_REPORT, FAILURES_AND_SUCCESSES = range(3)
"""The levels at which a client asks for reports."""

_NUMBER = re.compile(r"[0-9]{1,9}")
_MOST = 32
_LONGEST_HIDDEN = 7 * 24 * 3600
_LIFE = 7 * 24 * 3600 * kusto_time.SECOND
_KEPT = 10_000


def succeeded(state: State, job: IngestionJob, source: str, activity_id: str) -> None:
    """Report that a file was ingested, if its client requested that; ``source`` is its address without credentials."""
    if job.report_level == FAILURES_AND_SUCCESSES:
        fields = {
            "OperationId": str(uuid.uuid4()),
            "RootActivityId": activity_id,
            "SucceededOn": kusto_time.format_datetime(kusto_time.now()),
        }
        _add(state, SUCCEEDED, job, source, fields)


def failed(state: State, job: IngestionJob, failure: IngestionFailure) -> None:
    """Report that a file was not ingested, if its client requested that."""
    if job.report_level != DO_NOT_REPORT:
        fields = {
            "OperationId": failure.operation_id,
            "RootActivityId": failure.activity_id,
            "FailedOn": kusto_time.format_datetime(failure.timestamp),
            "Details": failure.details,
            "ErrorCode": failure.error_code,
            "FailureStatus": "Permanent" if failure.is_permanent else "Transient",
            "OriginatesFromUpdatePolicy": failure.is_from_update_policy,
            "ShouldRetry": not failure.is_permanent,
        }
        _add(state, FAILED, job, failure.source, fields)


def _add(state: State, queue: str, job: IngestionJob, source: str, fields: Mapping[str, object]) -> None:
    about = {"Database": job.database, "Table": job.table}
    about |= {"IngestionSourceId": job.source_id, "IngestionSourcePath": source}
    report = Report(json.dumps({**about, **fields}))
    with state.lock:
        _put(state, queue, (*state.world.reports.get(queue, ())[1 - _KEPT :], report))


def _put(state: State, queue: str, reports: tuple[Report, ...]) -> None:
    state.change(lambda w: replace(w, reports=with_entry(w.reports, queue, reports)))


def read(state: State, queue: str, *, count: str, hidden: str, peeks: bool) -> str:
    """Return the first messages of a queue as XML; unless ``peeks``, hide them from other readers for ``hidden`` seconds."""
    wanted = _number("numofmessages", count, range(1, _MOST + 1))
    seconds = _number("visibilitytimeout", hidden, range(1, _LONGEST_HIDDEN + 1))
    now = kusto_time.now()
    with state.lock:
        reports = [one for one in state.world.reports.get(queue, ()) if one.inserted + _LIFE > now]
        found = [one for one in reports if one.visible <= now][:wanted]
        if not peeks:
            until = now + seconds * kusto_time.SECOND
            taken = {
                one.id: replace(one, visible=until, receipt=str(uuid.uuid4()), received=one.received + 1)
                for one in found
            }
            found = list(taken.values())
            _put(state, queue, tuple(taken.get(one.id, one) for one in reports))
    return messages({**head(one, peeks=peeks), **_content(one)} for one in found)


def messages(found: Iterable[Mapping[str, str]]) -> str:
    """Return messages of a queue as XML, as Azure Storage does."""
    answer = ET.Element("QueueMessagesList")
    for fields in found:
        message = ET.SubElement(answer, "QueueMessage")
        for name, text in fields.items():
            ET.SubElement(message, name).text = text
    return ET.tostring(answer, encoding="unicode", xml_declaration=True)


def head(report: Report, *, peeks: bool = False) -> dict[str, str]:
    """Return the metadata of a message; if ``peeks``, without the receipt that is needed to delete it."""
    times = {"InsertionTime": _http(report.inserted), "ExpirationTime": _http(report.inserted + _LIFE)}
    receipt = {} if peeks else {"PopReceipt": report.receipt, "TimeNextVisible": _http(report.visible)}
    return {"MessageId": report.id, **times, **receipt}


def _content(report: Report) -> dict[str, str]:
    return {"DequeueCount": str(report.received), "MessageText": base64.b64encode(report.text.encode()).decode()}


def delete(state: State, queue: str, message: str, receipt: str) -> str:
    """Delete the message that was received with a receipt, and return an empty response."""
    with state.lock:
        reports = state.world.reports.get(queue, ())
        found = next((one for one in reports if one.id == message), None)
        if found is None:
            raise http_error(404, "MessageNotFound", "The queue does not contain this message.")
        if not receipt or found.receipt != receipt:
            raise http_error(400, "PopReceiptMismatch", "The receipt does not belong to this message.")
        _put(state, queue, tuple(one for one in reports if one is not found))
    return ""


def _number(name: str, text: str, allowed: range) -> int:
    if not _NUMBER.fullmatch(text) or int(text) not in allowed:
        what = f"{name} must be from {allowed.start} to {allowed.stop - 1}."
        raise http_error(400, "OutOfRangeQueryParameterValue", what)
    return int(text)


def _http(moment: int) -> str:
    return format_datetime(kusto_time.to_datetime(moment).replace(tzinfo=UTC), usegmt=True)
