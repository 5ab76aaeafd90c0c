"""Queued ingestion: a blob is sent through azure-kusto-ingest, and what the cluster reports of it is read."""

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
from kqlmi.cluster.connection import LOOPBACK, Target, connection_string, refuse_plain_http
from kqlmi.cluster.faults.refusals import translated
from kqlmi.cluster.protocol.transport import passage, watch
from kqlmi.errors import ConnectionFailedError, InputError, ServiceError, printable, require_extra
from kqlmi.model import jsontext
from kqlmi.model.uses.blobs import Blob
from kqlmi.redaction import redacted

Outcome = Literal["queued", "succeeded", "failed", "unknown"]

# Each request to the ingestion endpoint; by itself the client waits for an hour.
_DEADLINE: Final = timedelta(seconds=60)
_QUEUES: Final = 3
"""So many queues are tried, as by the SDK."""
_MOST: Final = 32
"""So many messages a queue shows to whoever peeks."""
_DETAILS: Final = 2000
_LOGGING_URLS: Final = ("urllib3.connectionpool", "urllib3.util.retry")


@dataclass(frozen=True, slots=True)
class Ingestion:
    """What is known of a blob that was sent.

    ``outcome`` is ``queued`` as long as nobody looked, and ``unknown`` where nothing was heard in time. ``source_id`` is
    the ingestion's own; ``operation_id``, ``error_code``, ``details`` and ``may_retry`` are as the cluster reported them.
    How many rows there were is not reported.
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

    def __str__(self) -> str:
        if self.outcome == "queued":
            return "Not followed."
        return f"Ingested into {printable(self.database)}.{printable(self.table)}, operation {printable(self.operation_id)}."

    def reported(self, outcome: Outcome, report: Mapping[str, Any]) -> "Ingestion":
        """Give what is known with a message of a status queue."""
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
    """Sends blobs to the ingestion endpoint of a target, and peeks at the status queues that it names.

    The queues belong to everybody who ingests into the cluster, so nothing is taken out of them. ``sent`` is what is
    known of the last blob: ``queued``, or ``unknown`` from when its message may have left; else None.
    """

    def __init__(self, target: Target) -> None:
        """Make the client; nothing is sent yet.

        Raises:
            InputError: Where the cluster ingests is not known, or a token would go over plain http.
            MissingExtraError: azure-kusto-ingest is not installed.
        """
        with require_extra("azure", "Ingestion needs azure-kusto-ingest."):
            from azure.kusto.data import KustoConnectionStringBuilder
            from azure.kusto.ingest import QueuedIngestClient
            from azure.kusto.ingest.status import KustoIngestStatusQueues
        self._target = _at_ingestion(target)
        builder = connection_string(KustoConnectionStringBuilder, self._target)
        self._client = QueuedIngestClient(builder, auto_correct_endpoint=False)
        self._manager: Any = self._client._resource_manager  # noqa: SLF001 - it has no deadline of its own to set
        kusto: Any = self._manager._kusto_client  # noqa: SLF001
        kusto._mgmt_default_timeout = _DEADLINE  # noqa: SLF001
        watch(kusto._session)  # noqa: SLF001
        self.sent: Ingestion | None = None
        self._proxies: dict[str, Any] | None = None
        if urlsplit(self._target.query_url).hostname in LOOPBACK:
            # A proxy of the environment has no business with a request to this machine.
            kusto._session.trust_env = False  # noqa: SLF001
            self._proxies = {"http": None, "https": None}
        # One of its own, which the end of another client does not remove.
        self._filter = partial(_without_signature)
        status = KustoIngestStatusQueues(self._client)
        self._status: dict[Outcome, Any] = {"succeeded": status.success, "failed": status.failure}

    def __enter__(self) -> Self:
        """Give the client itself; until it is closed, no log shows the signature of a queue."""
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
        """Queue a blob, and give what is known then: ``unknown`` where the answer of the queue was lost.

        Raises:
            ConnectionFailedError: Endpoint or queues cannot be reached; nothing was sent.
            ServiceError: The cluster or the queue refused it.
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
            # Set before the message leaves, for whoever interrupts it.
            self.sent = replace(ingestion, outcome="unknown")
            refusal = queues.post(queue, message, self._proxies)
            self._manager.report_resource_usage_result(queue.storage_account_name, refusal is None)
            if refusal is None:
                self.sent = ingestion
                return ingestion
            if not queues.is_refused(refusal):
                return self.sent
            self.sent = None
        # Raised here and not where it was caught: the text of the cause holds the signature of the queue.
        status = getattr(refusal, "status_code", None)
        if status is None:
            raise _unreachable(found)
        raise ServiceError(
            f"The ingestion queue did not take the message (status {status}).", hint="Try again.", status=status
        )

    def _resources(self) -> tuple[list[Any], str]:
        """Give the queues, the best first, and what a message carries to say who asks."""
        try:
            with (
                passage(_DEADLINE.total_seconds(), lambda: None) as on_its_way,
                translated(self._target.query_url, self._target.sign_in, on_its_way),
            ):
                return self._manager.get_ingestion_queues(), self._manager.get_authorization_context()
        except ConnectionFailedError as error:
            # Whatever became of this request, it asks, and queues nothing.
            error.sent, error.hint = False, "Nothing was queued. Check the URL and the network, and try again."
            raise

    def _message(self, ingestion: Ingestion, properties: Any, authorization: str) -> str:
        from azure.kusto.ingest import BlobDescriptor
        from azure.kusto.ingest.ingestion_blob_info import IngestionBlobInfo

        # The size is not known without reading the blob, and 0 says so.
        descriptor = BlobDescriptor(str(ingestion.blob), size=0, source_id=ingestion.source_id)
        client = self._client
        names = client.application_for_tracing, client.client_version_for_tracing
        return str(IngestionBlobInfo(descriptor, properties, authorization, *names).to_json())

    def report(self, ingestion: Ingestion) -> Ingestion | None:
        """Give what is reported of an ingestion; None where nothing is, or the reports cannot be read just now."""
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
        """Refuse where none of the first queues answers at all; that a queue may not be read is an answer, too."""
        from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError

        if not found:
            raise ServiceError(
                f"{urlsplit(self._target.query_url).netloc} names no ingestion queue.", hint="Nothing was sent."
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
        hint="Nothing was sent. A firewall may allow the cluster and not its storage queues.",
        sent=False,
    )


def _without_signature(record: logging.LogRecord) -> bool:
    """Take signatures out of what urllib3 logs of a URL."""
    if isinstance(record.args, tuple):
        record.args = tuple(redacted(str(one)) if not isinstance(one, int | float) else one for one in record.args)
    return True


def _at_ingestion(target: Target) -> Target:
    """Give the ingestion endpoint as a target of its own."""
    if not urlsplit(target.ingest_url).hostname:
        raise InputError(
            "Where the cluster takes in files is not known.",
            hint="Connect with --ingest-url, or by the cluster's name.",
        )
    refuse_plain_http(target.ingest_url, target.sign_in)
    own, there = (urlsplit(url).hostname or "" for url in (target.query_url, target.ingest_url))
    local = own in LOOPBACK and there in LOOPBACK
    if target.sign_in.token is not None and not local and there not in {own, f"ingest-{own}"}:
        raise InputError(
            f"The token was given for {own}, and does not go to {there}. Nothing was sent.",
            hint="Sign in another way, as with --auth azure-cli.",
        )
    return Target(target.ingest_url, target.sign_in)


def _read(content: str) -> dict[str, Any]:
    """Give a message of a status queue, JSON in base64 or as such; one that is neither says nothing."""
    try:
        text = base64.b64decode(content, validate=True).decode()
    except (binascii.Error, ValueError):
        text = content
    found = jsontext.read(text)
    return found if isinstance(found, dict) else {}
