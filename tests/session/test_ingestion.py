"""Tests of ingesting a blob as a managed identity with the real client: checked first, sent, and followed to its outcome."""

import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
import requests
import urllib3.exceptions
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError

import kqlmi
from kqlmi.cluster import queues
from kqlmi.cluster.ingest import _read
from kqlmi.errors import (
    ConnectionFailedError,
    IngestionError,
    InputError,
    KqlmiError,
    RequestInterruptedError,
    ServiceError,
)
from kqlmi.local.cluster import LocalCluster
from kqlmi.local.ingest.statusqueues import SUCCEEDED
from kqlmi.session import Session
from tests.standins.serving import Answer, Request, serve
from tests.waiting import eventually

DATA = "https://acct.blob.core.windows.net/data"
CLOSED = "https://acct.blob.core.windows.net/closed"
NOW: dict[str, Any] = {"wait": 10, "interval": 0.01}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A cluster on which ``loader`` may ingest into Samples and read one of two containers, and ``mine`` may do nothing."""
    folder = tmp_path_factory.mktemp("container")
    (folder / "a.csv").write_text("x,1\ny,2\n")
    with kqlmi.local.start(databases=["Samples", "Other"], identities=["system", "loader", "mine"]) as started:
        _, loader, mine = (one.object_id for one in started.identities)
        for container in (DATA, CLOSED):
            started.add_storage(container, folder)
        started.assign_role(loader, DATA, "Storage Blob Data Reader")
        with kqlmi.connect(started.url, token=started.token, database="Samples", history=False) as admin:
            admin.run(".create table R (a: string, b: long)")
            admin.apply(admin.grant(loader, "NativeIngestion", databases=["Samples"]))
            admin.apply(admin.grant(mine, "ExternalTable", databases=["Other"]))
        yield started


def opened(cluster: LocalCluster, **more: Any) -> Session:
    more = {"token": cluster.token, "ingest_url": cluster.ingest_url, **more}
    return kqlmi.connect(cluster.url, database="Samples", name="test", history=False, **more)


@pytest.fixture(autouse=True)
def _own_queues(cluster: LocalCluster) -> None:
    # A test that does not wait leaves a blob whose rows the next one would count.
    eventually(lambda: not cluster._state.world.jobs)
    cluster._state.change(lambda world: replace(world, reports={}))
    cluster._state.elsewhere = {}


@pytest.fixture
def session(cluster: LocalCluster) -> Iterator[Session]:
    with opened(cluster) as made:
        yield made


def rows(session: Session) -> int:
    return int(session.run("R | count").column("Count")[0])


def sent(cluster: LocalCluster) -> int:
    """Return the number of clients that have requested the token that accompanies a message."""
    return len(cluster._state.authorizations)


def test_a_blob_becomes_rows_and_the_result_reports_it(
    cluster: LocalCluster, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No request to this machine may go through a proxy.
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    before, reported, waited = rows(session), list[str](), list[float]()
    done = session.ingest(f"{DATA}/a.csv", "R", identity="LOADER", **NOW, tell=reported.append, progress=waited.append)
    assert rows(session) == before + 2
    assert (done.outcome, done.database, done.table, done.details) == ("succeeded", "Samples", "R", "")
    assert done.operation_id
    loader = cluster.identities[1].object_id
    assert reported == [
        f"Sending {DATA}/a.csv;managed_identity={loader} to Samples.R on test as csv (source ID {done.source_id}).",
        "Queued.",
    ]
    assert waited == sorted(waited)
    [report] = cluster._state.world.reports[SUCCEEDED]
    assert report.received == 0, "the shared message must stay in the queue, visible to all"


def test_an_identity_in_the_uri_is_used_unchanged(cluster: LocalCluster, session: Session) -> None:
    loader, mine = (one.object_id for one in cluster.identities[1:])
    before = rows(session)
    uri = f"{DATA}/a.csv;managed_identity={loader}"
    assert str(session.ingest(uri, "R", ignore_first_record=True, **NOW).blob) == uri
    assert str(session.ingest(uri, "R", identity="loader", **NOW).blob) == uri
    assert rows(session) == before + 3
    with pytest.raises(InputError, match=f"names {loader}, but --identity names {mine}"):
        session.ingest(uri, "R", identity="mine", **NOW)


@pytest.mark.parametrize(
    ("identity", "database", "says"),
    [
        ("mine", "", "may not be used for NativeIngestion in the database Samples"),
        ("system", "", "%kqlmi grant system NativeIngestion --database=Samples --on=test"),
        ("loader", "other", "--database=Other"),
        ("nobody", "", "Identity 'nobody' is not listed in any policy"),
        ("", "", "No identity is specified"),
        ("loader", "Nowhere", "Database 'Nowhere' does not exist"),
    ],
)
def test_an_ingestion_that_no_policy_allows_is_refused_before_anything_is_sent(
    cluster: LocalCluster, session: Session, identity: str, database: str, says: str
) -> None:
    before = sent(cluster)
    with pytest.raises(InputError, match=r".*") as caught:
        session.ingest(f"{DATA}/a.csv", "R", identity=identity, database=database, **NOW)
    assert says in str(caught.value)
    assert sent(cluster) == before
    assert cluster._state.world.jobs == ()


def test_an_identity_that_is_not_assigned_is_refused_before_anything_is_sent(cluster: LocalCluster) -> None:
    before = sent(cluster)
    with opened(cluster, resource_id=cluster.resource_id, arm_options=cluster.arm_options) as session:
        with pytest.raises(InputError, match=r"is not assigned to test.*%kqlmi assign NAME --on=test$"):
            session.ingest(f"{DATA}/a.csv", "R", identity="aaaaaaaa-1111-2222-3333-444444444444")
        assert sent(cluster) == before
        assert session.ingest(f"{DATA}/a.csv", "R", identity="loader", **NOW).outcome == "succeeded"


def test_policies_that_may_not_be_read_do_not_stop_an_ingestion_and_are_reported(cluster: LocalCluster) -> None:
    reported = list[str]()
    loader = cluster.identities[1].object_id
    with opened(cluster, token=cluster.token_for("ingestor", database="Samples")) as session:
        done = session.ingest(f"{DATA}/a.csv", "R", identity=loader, **NOW, tell=reported.append)
    assert done.outcome == "succeeded"
    assert reported[0].startswith(
        f"Could not check whether {loader} may be used for NativeIngestion: the policy of the"
    )


def test_a_failure_reports_the_clusters_reason(cluster: LocalCluster, session: Session) -> None:
    with pytest.raises(IngestionError, match="Storage Blob Data Reader is required on") as caught:
        session.ingest(f"{CLOSED}/a.csv", "R", identity="loader", **NOW)
    found = caught.value.ingestion
    assert (found.outcome, found.error_code, found.may_retry) == ("failed", "Download_Forbidden", False)
    assert "Azure role" in caught.value.hint
    noted = session.run(".show ingestion failures").column("OperationId")
    assert found.operation_id == noted[-1]
    with pytest.raises(IngestionError, match="'Nowhere' of kind 'Table' was not found"):
        session.ingest(f"{DATA}/a.csv", "Nowhere", identity="loader", **NOW)
    with pytest.raises(IngestionError, match="ingestionMappingReference"):
        session.ingest(f"{DATA}/a.csv", "R", identity="loader", mapping="m", **NOW)
    assert cluster._state.world.reports["kqlmi-failed"][0].received == 0


def test_silence_is_unknown_and_not_guessed(cluster: LocalCluster, session: Session) -> None:
    # A queue of reports that stays empty, as one does while messages of others come first.
    empty = f"{cluster.ingest_url}/kqlmi-successful?sig={cluster._state.signature}"
    cluster._state.elsewhere = {"FailedIngestionsQueue": [empty]}
    waited = list[float]()
    with pytest.raises(
        IngestionError,
        match=r"could not determine whether .* into .*: the cluster reported nothing within 0\.2 seconds",
    ) as caught:
        session.ingest(f"{CLOSED}/a.csv", "R", identity="loader", wait=0.2, interval=0.05, progress=waited.append)
    assert caught.value.ingestion.outcome == "unknown"
    assert "lists a failure of this blob, perhaps from another attempt: the storage refuses" in caught.value.message
    look = caught.value.hint.partition(" cell: ")[2]
    assert len(session.run(look).rows) >= 1, "the line in the hint works as written"
    assert waited[-1] == 0.2
    assert session.ingest(f"{DATA}/a.csv", "R", identity="loader", wait=0).outcome == "queued"


def test_a_read_only_session_and_a_wrong_table_send_nothing(cluster: LocalCluster, session: Session) -> None:
    before = sent(cluster)
    with opened(cluster, read_only=True) as reading, pytest.raises(InputError, match="read-only"):
        reading.ingest(f"{DATA}/a.csv", "R", identity="loader")
    with pytest.raises(InputError, match="name of the table is invalid") as caught:
        session.ingest(f"{DATA}/a.csv", f"{DATA}?sig=PLANTED", identity="loader")
    assert "PLANTED" not in str(caught.value)
    assert sent(cluster) == before


@pytest.mark.parametrize(
    ("url", "ingests"),
    [
        ("https://c.westeurope.kusto.windows.net", "https://ingest-c.westeurope.kusto.windows.net"),
        ("https://ingest-c.westeurope.kusto.windows.net", "https://ingest-c.westeurope.kusto.windows.net"),
        ("http://127.0.0.1:8080", ""),
        ("http://localhost:8080", ""),
        ("http://[::1]:8080", ""),
    ],
)
def test_the_ingestion_endpoint_follows_from_the_clusters_name(url: str, ingests: str) -> None:
    with kqlmi.connect(url, auth="none", history=False) as session:
        assert session.target is not None
        assert session.target.ingest_url == ingests


def test_an_unknown_ingestion_endpoint_and_plain_http_are_refused(cluster: LocalCluster) -> None:
    for url, says in (("", "is unknown"), ("http://ingest-c.example.org", "over plain http")):
        with opened(cluster, ingest_url=url) as session, pytest.raises(InputError, match=says):
            session.ingest(f"{DATA}/a.csv", "R", identity="loader")


class Credential:
    """A credential that counts how often it was closed."""

    def __init__(self, token: str) -> None:
        self._token, self.closed = token, 0

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        return AccessToken(self._token, 2**33)

    def close(self) -> None:
        self.closed += 1


def test_the_credential_of_the_session_stays_open(cluster: LocalCluster) -> None:
    credential = Credential(cluster.token)
    with opened(cluster, token=None, credential=credential) as session:
        assert session.ingest(f"{DATA}/a.csv", "R", identity="loader", **NOW).outcome == "succeeded"
        assert credential.closed == 0
        assert rows(session)
    assert credential.closed == 0  # its creator closes it


@pytest.mark.parametrize(
    ("queue", "error", "says"),
    [
        ("http://127.0.0.1:1/q?sig=PLANTED", ConnectionFailedError, "127.0.0.1:1 cannot be reached"),
        ("{0}/kqlmi-ingest?sig=PLANTED", ServiceError, "refused the message (status 403)"),
    ],
)
def test_a_failing_queue_is_reported_at_once_without_its_signature(
    cluster: LocalCluster, session: Session, queue: str, error: type[KqlmiError], says: str
) -> None:
    cluster._state.elsewhere = {"SecuredReadyForAggregationQueue": [queue.format(cluster.ingest_url)]}
    with pytest.raises(error) as caught:
        session.ingest(f"{DATA}/a.csv", "R", identity="loader")
    assert says in str(caught.value)
    # The whole chain, including suppressed exceptions.
    shown = "".join(traceback.format_exception(caught.value))
    context: BaseException | None = caught.value
    while context := context and context.__context__:
        shown += repr(context)
    assert "PLANTED" not in shown
    assert cluster.token not in shown


def test_an_endpoint_that_refuses_or_is_unreachable_is_reported(cluster: LocalCluster) -> None:
    with (
        opened(cluster, ingest_url=cluster.url) as session,
        pytest.raises(ServiceError, match="does not support this request"),
    ):
        session.ingest(f"{DATA}/a.csv", "R", identity="loader")
    with (
        opened(cluster, ingest_url="http://127.0.0.1:1") as session,
        pytest.raises(ConnectionFailedError, match=r"127\.0\.0\.1:1 cannot be reached"),
    ):
        session.ingest(f"{DATA}/a.csv", "R", identity="loader")


def test_an_endpoint_that_fails_has_queued_nothing(cluster: LocalCluster) -> None:
    with (
        stand_in(None) as (url, _),
        opened(cluster, ingest_url=url.rpartition("/")[0]) as session,
        pytest.raises(ConnectionFailedError, match="Nothing was queued") as caught,
    ):
        session.ingest(f"{DATA}/a.csv", "R", identity="loader")
    assert not caught.value.sent


@contextmanager
def stand_in(
    answer: Answer | None, on_message: Callable[[], object] = lambda: None
) -> Iterator[tuple[str, list[bytes]]]:
    """Yield the URL of a queue that records each message, and then answers, or hangs up if there is no answer."""
    messages = list[bytes]()

    def keep(request: Request) -> Answer:
        if request.method == "POST":
            messages.append(request.body)
            on_message()
            if answer is None:
                raise ConnectionError
        return answer if answer and request.method == "POST" else Answer(200, b"")

    with serve(keep) as port:
        yield f"http://127.0.0.1:{port}/q?sig=PLANTED", messages


@pytest.mark.parametrize("answer", [None, Answer(503, b"", {"x-ms-error-code": "ServerBusy"}), Answer(429, b"")])
def test_a_message_that_a_queue_may_have_accepted_is_sent_to_no_other(
    cluster: LocalCluster, session: Session, answer: Answer | None
) -> None:
    reported = list[str]()
    with ExitStack() as stack:
        opened_queues = [stack.enter_context(stand_in(answer)) for _ in range(3)]
        cluster._state.elsewhere = {"SecuredReadyForAggregationQueue": [url for url, _ in opened_queues]}
        with pytest.raises(IngestionError, match="could not determine whether") as caught:
            session.ingest(f"{DATA}/a.csv", "R", identity="loader", wait=0, mapping="m", tell=reported.append)
    assert caught.value.ingestion.outcome == "unknown"
    assert len([one for _, messages in opened_queues for one in messages]) == 1
    assert "as csv with the mapping m" in reported[0]
    assert reported[1:] == ["The queue's response was lost."]


@pytest.mark.parametrize("first", ["http://127.0.0.1:1/q?sig=PLANTED", "{0}/kqlmi-ingest?sig=PLANTED"])
def test_a_queue_that_certainly_accepted_nothing_is_skipped(
    cluster: LocalCluster, session: Session, first: str
) -> None:
    good = f"{cluster.ingest_url}/kqlmi-ingest?sig={cluster._state.signature}"
    cluster._state.elsewhere = {"SecuredReadyForAggregationQueue": [first.format(cluster.ingest_url), good]}
    before = rows(session)
    assert session.ingest(f"{DATA}/a.csv", "R", identity="loader", **NOW).outcome == "succeeded"
    assert rows(session) == before + 2


def test_an_interrupt_before_a_blob_is_sent_reports_that(cluster: LocalCluster, session: Session) -> None:
    reported, before = list[str](), sent(cluster)

    def tell(sentence: str) -> None:
        reported.append(sentence)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(RequestInterruptedError, match=r"^Interrupted before .*: nothing was queued\.$") as caught:
        session.ingest(f"{DATA}/a.csv", "R", identity="loader", tell=tell)
    assert not caught.value.sent
    assert len(reported) == 1
    assert reported[0].startswith(f"Sending {DATA}/a.csv;managed_identity=")
    assert sent(cluster) == before


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals go to a thread on POSIX only")
def test_an_interrupt_while_a_blob_is_sent_reports_that_it_may_arrive(cluster: LocalCluster, session: Session) -> None:
    reported, over = list[str](), threading.Event()

    def interrupt() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        over.wait()

    with stand_in(None, interrupt) as (url, messages):
        cluster._state.elsewhere = {"SecuredReadyForAggregationQueue": [url]}
        try:
            with pytest.raises(
                RequestInterruptedError, match=r"could not determine whether .* is queued into Samples\.R \(source ID"
            ) as caught:
                session.ingest(f"{DATA}/a.csv", "R", identity="loader", tell=reported.append)
        finally:
            over.set()
    assert len(messages) == 1
    assert caught.value.sent
    assert "PLANTED" not in str(caught.value)
    session.run(caught.value.hint.partition(" cell: ")[2])  # the line in the hint works as written
    source = reported[0].rpartition(" ")[2].rstrip(".")
    assert f"source ID {source}" in str(caught.value)


def test_an_interrupt_of_the_wait_reports_that_the_ingestion_continues(cluster: LocalCluster, session: Session) -> None:
    # A queue of reports that stays empty.
    empty = f"{cluster.ingest_url}/kqlmi-successful?sig={cluster._state.signature}"
    cluster._state.elsewhere = {"FailedIngestionsQueue": [empty]}
    with pytest.raises(
        RequestInterruptedError, match=r"is queued into Samples\.R \(source ID .*\), and its ingestion continues"
    ) as caught:
        session.ingest(f"{CLOSED}/a.csv", "R", identity="loader", progress=lambda _: signal.raise_signal(signal.SIGINT))
    assert caught.value.hint.endswith(f".show ingestion failures | where IngestionSourcePath == '{CLOSED}/a.csv'")


def answered(status: int, code: str = "") -> HttpResponseError:
    error = HttpResponseError("refused")
    error.status_code = status
    error.error_code = code  # type: ignore[attr-defined]  # as azure-storage-queue sets it
    return error


@pytest.mark.parametrize(
    ("cause", "refused"),
    [
        (answered(403, "AuthenticationFailed"), True),
        (answered(408), False),
        (answered(500, "InternalError"), False),
        (answered(201), False),
        (ServiceRequestError("", error=urllib3.exceptions.ConnectTimeoutError()), True),
        (ServiceRequestError("", error=requests.exceptions.SSLError()), False),
        (ServiceResponseError("the answer broke"), False),
        (RuntimeError(), False),
    ],
)
def test_only_what_proves_that_nothing_was_queued_counts_as_refused(cause: BaseException, refused: bool) -> None:  # noqa: FBT001
    assert queues.is_refused(cause) is refused


@pytest.mark.parametrize(
    ("content", "read"), [("eyJhIjoxfQ==", {"a": 1}), ('{"a": 1}', {"a": 1}), ("[1]", {}), ("\xff", {})]
)
def test_a_report_is_json_in_base64_or_as_such(content: str, read: dict[str, Any]) -> None:
    assert _read(content) == read


def test_a_missing_extra_is_named(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "azure.kusto.ingest", None)
    with pytest.raises(KqlmiError, match=r"pip install 'kqlmi\[azure\]'"):
        session.ingest(f"{DATA}/a.csv", "R", identity="loader")


def test_no_secret_is_shown_anywhere(
    cluster: LocalCluster, session: Session, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    reported = list[str]()
    done = session.ingest(f"{DATA}/a.csv", "R", identity="loader", **NOW, tell=reported.append)
    for uri in (
        f"{DATA}/a.csv?sv=1&sig=PLANTED",
        f"{DATA}/a.csv;PLANTED",
        f"{DATA}/a.csv?sig=PLANTED;managed_identity=system",
    ):
        with suppress(InputError):
            session.ingest(uri, "R", identity="loader", tell=reported.append)
    shown = f"{caplog.text} {capfd.readouterr()} {reported} {done!r} {session!r} {session.target!r}"
    assert done.source_id in shown
    assert "sig=****" in shown
    for secret in ("PLANTED", cluster.token, cluster._state.signature, *cluster._state.authorizations):
        assert secret not in shown


def test_the_latest_failures_of_a_database_are_listed_with_their_fix(session: Session) -> None:
    before = len(session.failures("Samples").failures)
    with pytest.raises(IngestionError):
        session.ingest(f"{CLOSED}/a.csv", "R", identity="loader", **NOW)
    found = session.failures()
    assert len(found.failures) == before + 1
    newest = found.failures[0]
    assert newest.subject == "ingestion into R"
    assert newest.fix.startswith("az role assignment create --assignee-object-id ")
    assert newest.explained.report().title.startswith("The identity lacks the Azure role Storage Blob Data Reader on ")
    assert found.notes == ()
    assert session.failures("Other").failures == ()


def test_failures_that_may_not_be_read_are_noted(cluster: LocalCluster) -> None:
    with opened(cluster, token=cluster.token_for("viewer", database="Samples")) as viewer:
        notes = viewer.failures().notes
    assert all(one.startswith("Not read: ") for one in notes)
