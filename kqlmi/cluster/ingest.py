"""Queued ingestion: sending a blob through azure-kusto-ingest, and reading the cluster's reports of it."""

import base64
import binascii
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit

from kqlmi.cluster import queues
from kqlmi.cluster.connection import LOOPBACK, KustoConnection, Target, connection_string, refuse_plain_http
from kqlmi.cluster.faults.refusals import translated
from kqlmi.cluster.protocol.table import Table
from kqlmi.cluster.protocol.transport import passage, watch
from kqlmi.errors import ConnectionFailedError, InputError, ServiceError, printable, require_extra
from kqlmi.model import jsontext
from kqlmi.model.uses.blobs import Blob
from kqlmi.redaction import redacted
from kqlmi.report import Described, Report

Outcome = Literal["queued", "succeeded", "failed", "unknown"]

# For each request to the ingestion endpoint; the client's default is an hour.
_DEADLINE: Final = timedelta(seconds=60)
_QUEUES: Final = 3
"""The number of queues that are tried, as in the SDK."""
_MOST: Final = 32
"""The number of messages that one peek at a queue can return."""
_DETAILS: Final = 2000
_LOGGING_URLS: Final = ("urllib3.connectionpool", "urllib3.util.retry")


@dataclass(frozen=True, slots=True, repr=False)
class Ingestion(Described):
    """An ingestion of a blob, and its last known state.

    ``outcome`` is ``queued`` until a report is read, and ``unknown`` if no report arrived in time. ``source_id``
    identifies the ingestion. The cluster reports ``operation_id``, ``error_code``, ``details`` and ``may_retry``, but not
    the number of rows.
    """

    blob: Blob
    database: str
    table: str
    source_id: str
    outcome: Outcome = "queued"
    operation_id: str = ""
    error_code: str = ""
    details: str = ""
    may_retry: bool | None = None

    def report(self) -> Report:
        """Return the last known state in a sentence."""
        table = f"{self.database}.{self.table}"
        match self.outcome:
            case "queued":
                return Report("Queued; the result was not awaited.")
            case "succeeded":
                return Report(f"Ingested into {table}, operation {self.operation_id}.")
            case "failed":
                return Report(f"Not ingested into {table}: {self.error_code}. {self.details}".rstrip())
            case "unknown":
                return Report(f"Not known whether the blob was ingested into {table}, source ID {self.source_id}.")

    def reported(self, outcome: Outcome, report: Mapping[str, Any]) -> "Ingestion":
        """Return the ingestion with the report in a message of a status queue."""
        retry = report.get("ShouldRetry")
        return replace(
            self,
            outcome=outcome,
            operation_id=str(report.get("OperationId") or ""),
            error_code=str(report.get("ErrorCode") or ""),
            details=redacted(str(report.get("Details") or ""))[:_DETAILS],
            may_retry=retry if isinstance(retry, bool) else None,
        )


class IngestClient:
    """A client that sends blobs to the ingestion endpoint of a target, and peeks at that endpoint's status queues.

    Everyone who ingests into the cluster shares the queues, so no message is removed from them. ``sent`` is the last
    ingestion: ``queued``, or ``unknown`` if its message may have left. It is None if nothing was sent.
    """

    def __init__(self, target: Target) -> None:
        """Create the client; nothing is sent yet.

        Raises:
            InputError: The ingestion endpoint is unknown, or the token is meant for another endpoint.
            MissingExtraError: azure-kusto-ingest is not installed.
        """
        with require_extra("azure", "Ingestion needs azure-kusto-ingest."):
            from azure.kusto.data import KustoConnectionStringBuilder
            from azure.kusto.ingest import QueuedIngestClient
            from azure.kusto.ingest.status import KustoIngestStatusQueues
        self._target = _at_ingestion(target)
        builder = connection_string(KustoConnectionStringBuilder, self._target)
        self._client = QueuedIngestClient(builder, auto_correct_endpoint=False)
        self._manager: Any = self._client._resource_manager  # noqa: SLF001 - its deadline has no public setting
        kusto: Any = self._manager._kusto_client  # noqa: SLF001
        kusto._mgmt_default_timeout = _DEADLINE  # noqa: SLF001
        watch(kusto._session)  # noqa: SLF001
        self.sent: Ingestion | None = None
        self._proxies: dict[str, Any] | None = None
        if urlsplit(self._target.query_url).hostname in LOOPBACK:
            # A proxy of the environment must not affect requests to this machine.
            kusto._session.trust_env = False  # noqa: SLF001
            self._proxies = {"http": None, "https": None}
        # Each client has its own filter, so that closing another client does not remove it.
        self._filter = partial(_without_signature)
        status = KustoIngestStatusQueues(self._client)
        self._status: dict[Outcome, Any] = {"succeeded": status.success, "failed": status.failure}

    def __enter__(self) -> Self:
        """Return the client; until it is closed, no log shows the signature of a queue."""
        for name in _LOGGING_URLS:
            logging.getLogger(name).addFilter(self._filter)
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the client; the credential of the target stays open."""
        for name in _LOGGING_URLS:
            logging.getLogger(name).removeFilter(self._filter)
        self._client.close()

    def send(
        self, ingestion: Ingestion, *, data_format: str, mapping: str = "", ignore_first_record: bool = False
    ) -> Ingestion:
        """Queue a blob, and return its ingestion: ``queued``, or ``unknown`` if the queue's response was lost.

        Raises:
            ConnectionFailedError: The endpoint or the queues cannot be reached; nothing was sent.
            ServiceError: The cluster or the queue refused the request.
        """
        from azure.kusto.data import DataFormat
        from azure.kusto.ingest import IngestionProperties, ReportLevel, ReportMethod

        properties = IngestionProperties(
            ingestion.database,
            ingestion.table,
            DataFormat[data_format.upper()],
            ingestion_mapping_reference=mapping or None,
            ignore_first_record=ignore_first_record,
            report_level=ReportLevel.FailuresAndSuccesses,
            report_method=ReportMethod.Queue,
        )
        self.sent = None
        found, authorization = self._resources()
        self._require_reachable(found)
        message, refusal = self._message(ingestion, properties, authorization), None
        for queue in found[:_QUEUES]:
            # Set before the message leaves, in case of an interrupt.
            self.sent = replace(ingestion, outcome="unknown")
            refusal = queues.post(queue, message, self._proxies)
            self._manager.report_resource_usage_result(queue.storage_account_name, refusal is None)
            if refusal is None:
                self.sent = ingestion
                return ingestion
            if not queues.is_refused(refusal):
                return self.sent
            self.sent = None
        # Raised here, without its cause, because the cause's message contains the signature of the queue.
        status = getattr(refusal, "status_code", None)
        if status is None:
            raise _unreachable(found)
        raise ServiceError(
            f"The ingestion queue refused the message (status {status}).", hint="Try again.", status=status
        )

    def _resources(self) -> tuple[list[Any], str]:
        """Return the queues, the best first, and the authorization context that a message contains."""
        try:
            with (
                passage(_DEADLINE.total_seconds(), lambda: None) as on_its_way,
                translated(self._target.query_url, self._target.sign_in, on_its_way),
            ):
                return self._manager.get_ingestion_queues(), self._manager.get_authorization_context()
        except ConnectionFailedError as error:
            # Whatever the outcome of this request, it queues nothing.
            error.sent, error.hint = False, "Nothing was queued. Check the URL and the network, and try again."
            raise

    def _message(self, ingestion: Ingestion, properties: Any, authorization: str) -> str:
        from azure.kusto.ingest import BlobDescriptor
        from azure.kusto.ingest.ingestion_blob_info import IngestionBlobInfo

        # The size is not known without reading the blob; 0 means unknown.
        descriptor = BlobDescriptor(str(ingestion.blob), size=0, source_id=ingestion.source_id)
        client = self._client
        names = client.application_for_tracing, client.client_version_for_tracing
        return str(IngestionBlobInfo(descriptor, properties, authorization, *names).to_json())

    def report(self, ingestion: Ingestion) -> Ingestion | None:
        """Return an ingestion with its report, or None if there is no report or the reports cannot be read now."""
        from azure.core.exceptions import AzureError

        for outcome, status in self._status.items():
            for queue in status.get_queues_func():
                try:
                    with queues.opened(queue, self._proxies) as opened:
                        messages = opened.peek_messages(max_messages=_MOST)
                except AzureError:
                    continue
                for report in (_read(str(message.content)) for message in messages):
                    if str(report.get("IngestionSourceId")).lower() == ingestion.source_id:
                        return ingestion.reported(outcome, report)
        return None

    def _require_reachable(self, found: list[Any]) -> None:
        """Raise an error if none of the first queues responds. A refusal to read a queue is a response too."""
        from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError

        if not found:
            raise ServiceError(
                f"{urlsplit(self._target.query_url).netloc} does not name an ingestion queue.",
                hint="Nothing was sent. Check the ingestion URL.",
            )
        for queue in found[:_QUEUES]:
            try:
                with suppress(HttpResponseError), queues.opened(queue, self._proxies) as opened:
                    opened.get_queue_properties()
            except (ServiceRequestError, ServiceResponseError):
                self._manager.report_resource_usage_result(queue.storage_account_name, False)  # noqa: FBT003
            else:
                return
        raise _unreachable(found)


def _unreachable(found: list[Any]) -> ConnectionFailedError:
    return ConnectionFailedError(
        f"The ingestion queue at {printable(found[0].parsed.netloc)} cannot be reached.",
        hint="Nothing was sent. A firewall may allow the cluster but block its storage queues.",
        sent=False,
    )


def _without_signature(record: logging.LogRecord) -> bool:
    """Redact the signatures in the URLs that urllib3 logs."""
    if isinstance(record.args, tuple):
        record.args = tuple(redacted(str(one)) if not isinstance(one, int | float) else one for one in record.args)
    return True


def read_at_ingestion(target: Target, command: str, database: str) -> Table:
    """Run a command that only reads at the ingestion endpoint of a target, and return its table."""
    connection = KustoConnection(_at_ingestion(target), timeout=_DEADLINE.total_seconds(), read_only=True)
    try:
        return connection.execute(command, database)
    finally:
        connection._client.close()  # noqa: SLF001 - the credential stays open


def _at_ingestion(target: Target) -> Target:
    """Return the ingestion endpoint as a separate target."""
    if not urlsplit(target.ingest_url).hostname:
        raise InputError(
            "The ingestion endpoint of the cluster is unknown.",
            hint="Connect with --ingest-url https://ingest-<cluster>.<region>.kusto.windows.net.",
        )
    refuse_plain_http(target.ingest_url, target.sign_in)
    own, there = (urlsplit(url).hostname or "" for url in (target.query_url, target.ingest_url))
    local = own in LOOPBACK and there in LOOPBACK
    if target.sign_in.token is not None and not local and there not in {own, f"ingest-{own}"}:
        raise InputError(
            f"The token is for {own}, so it was not sent to {there}.",
            hint="Sign in another way, for example with --auth azure-cli.",
        )
    return Target(target.ingest_url, target.sign_in)


def _read(content: str) -> dict[str, Any]:
    """Return the JSON content of a status queue's message, which may be base64, or an empty dict if it is invalid."""
    try:
        text = base64.b64decode(content, validate=True).decode()
    except (binascii.Error, ValueError):
        text = content
    found = jsontext.read(text)
    return found if isinstance(found, dict) else {}
