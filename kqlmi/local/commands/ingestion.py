"""The commands of the ingestion endpoint: resources for clients that queue files, and queueing by a command."""

import secrets
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from kqlmi.local.dispatch.registry import Call, Endpoint, Rows, command, shape
from kqlmi.local.dispatch.shapes import NUMBER, listed
from kqlmi.local.enforce import Use
from kqlmi.local.flows import ingestion
from kqlmi.local.ingest import statusqueues
from kqlmi.local.language import partitions
from kqlmi.local.language.lexer import Kind
from kqlmi.local.language.partitions import Partition
from kqlmi.local.language.reader import Reader
from kqlmi.local.state.entities import UPLOADS, IngestionJob
from kqlmi.local.storage import transfer
from kqlmi.local.storage.storage import Opened, open_location
from kqlmi.local.values import connectionstrings, kusto_time, lenient_json
from kqlmi.local.values.connectionstrings import Location
from kqlmi.local.values.faults import bad_request, forbidden_operation, unsupported
from kqlmi.local.values.principals import INGEST

QUEUE = "kqlmi-ingest"
_RESOURCES = {
    "SecuredReadyForAggregationQueue": QUEUE,
    "TempStorage": UPLOADS,
    "FailedIngestionsQueue": statusqueues.FAILED,
    "SuccessfulIngestionsQueue": statusqueues.SUCCEEDED,
    "IngestionsStatusTable": "kqlmistatus",
}
_HERE = (Endpoint.INGEST,)
_MOST = 1000
_CREATED = (Partition("creationTime", "datetime"),)
_NAMES = {"format": "format", "ignorefirstrecord": "ignoreFirstRecord"}
_NAMED = {"EnableTracking": bool, "SkipBatching": bool, "CompressionFactor": float}


@dataclass(frozen=True)
class Listing:
    """A selection of blobs."""

    locations: tuple[Location, ...]
    suffix: str = ""
    most: int | None = None
    path_format: str = ""


@shape("blobs")
def blobs(reader: Reader, _verb: str) -> Listing:
    """Take ``('connection string') [Suffix=…] [MaxFiles=…]``."""
    locations = tuple(map(connectionstrings.parse, listed(reader, reader.strings)))
    given: dict[str, Any] = {}
    while (word := reader.peek().text) in _LISTED:
        reader.next()
        reader.expect("=")
        given[word] = _LISTED[word](reader)
    if len(locations) != 1 or any(location.impersonates for location in locations):
        raise bad_request(
            ".list blobs takes one connection string without ';impersonate': no caller is present when the files are read"
        )
    return Listing(locations, given.get("Suffix", ""), given.get("MaxFiles"), given.get("PathFormat", ""))


@shape("source")
def source(reader: Reader, verb: str) -> Listing:
    """Take ``<| .list blobs (…)``, or ``<|`` and string literals."""
    reader.expect("<|")
    if reader.take("."):
        reader.expect("list")
        reader.expect("blobs")
        listing: Listing = blobs(reader, verb)
        return listing
    texts = [reader.string()]
    while reader.peek().kind is Kind.STRING:
        texts.append(reader.string())
    if any("*" in text for text in texts):
        raise unsupported("wildcards in the addresses of files")
    return Listing(tuple(map(connectionstrings.parse, texts)))


@shape("target")
def target(reader: Reader, _verb: str) -> tuple[str | None, str]:
    """Take ``[database('D').]T [EnableTracking=…] …`` and return database and table."""
    database = None
    if reader.take("database"):
        reader.expect("(")
        database = reader.name()
        reader.expect(")")
        reader.expect(".")
    table = reader.name()
    while reader.peek().text in _NAMED:  # accepted, without a visible effect here
        reader.next()
        reader.expect("=")
        reader.next()
    return database, table


@command(".get ingestion resources", schema="ResourceTypeName: string, StorageRoot: string", endpoints=_HERE)
def ingestion_resources_get(call: Call) -> Rows:
    """Yield the URLs where clients upload and queue files; a client requires one of each kind."""
    _require_ingestor(call)
    state = call.state
    for kind, name in _RESOURCES.items():
        url = f"{state.ingest_url}/{name}?sv=kqlmi&sig={state.signature}"
        for one in state.elsewhere.get(kind, (url,)):
            yield (kind, one)


@command(".get kusto identity token", schema="AuthorizationContext: string", endpoints=_HERE)
def kusto_identity_token_get(call: Call) -> Rows:
    """Return a token that identifies the caller in a queued message."""
    _require_ingestor(call)
    token = secrets.token_urlsafe(32)
    with call.state.lock:
        call.state.authorizations = {**call.state.authorizations, token: call.caller}
    return [(token,)]


@command(
    ".list blobs {blobs:blobs}",
    schema="BlobUri: string, SizeInBytes: long, CapturedVariables: dynamic",
    long=True,
    endpoints=_HERE,
)
def blobs_list(call: Call) -> Rows:
    """Return the blobs of a container or folder."""
    database = call.allowed(INGEST)
    rows = [
        (blob.url, (opened.root / blob.path).stat().st_size, _captured(call.args["blobs"], blob))
        for opened, blob in _found(call, call.args["blobs"], database.name)
    ]
    return rows[:_MOST]


@command(
    ".ingest-from-storage-queued into table {target:target} [with {properties:properties}] {source:source}",
    schema="IngestionOperationId: string, ClientRequestId: string, OperationInfo: string",
    writes=True,
    long=True,
    endpoints=_HERE,
)
def ingest_from_storage_queued(call: Call) -> Rows:
    """Queue blobs for ingestion."""
    state = call.state
    named, table = call.args["target"]
    database = call.allowed(INGEST, f"Table {table}", database=named)
    database.table(table)
    given = call.args.get("properties", {})
    transfer.require(given, {*_NAMES, "enabletracking", *ingestion.INVISIBLE}, others=ingestion.UNSUPPORTED)
    kept = {name: transfer.value(given, one) for one, name in _NAMES.items() if one in given}
    operation = str(uuid.uuid4())
    jobs = tuple(
        IngestionJob(database.name, table, blob.shown, kept, call.caller, "ingest.queued_cmd", operation)
        for _, blob in _found(call, call.args["source"], database.name, flow="ingest.queued_cmd")
    )
    state.change(lambda w: replace(w, jobs=(*w.jobs, *jobs)))
    state.work.set()
    return [(operation, call.run.client_request_id, "")]


def _found(
    call: Call, listing: Listing, database: str, *, flow: str = "list_blobs"
) -> Iterator[tuple[Opened, Location]]:
    left = listing.most
    for location in listing.locations:
        opened = open_location(call.state, location, Use(flow, database))
        if not opened.path.exists():
            raise bad_request(f"there is no blob {location.url}")
        for blob in opened.blobs():
            if blob.path.endswith(listing.suffix) and left != 0:
                left = None if left is None else left - 1
                yield opened, blob


def _captured(listing: Listing, blob: Location) -> str:
    """Return the creation time in the path of a blob, as JSON."""
    found = partitions.values(_CREATED, listing.path_format, blob.path) if listing.path_format else None
    return lenient_json.dumps({"CreationTime": kusto_time.format_datetime(found["creationTime"])}) if found else "{}"


def _require_ingestor(call: Call) -> None:
    if not any(call.state.roles(call.caller, one) & INGEST for one in call.state.world.databases.values()):
        raise forbidden_operation(call.caller.principal.fqn, call.operation, call.state.ingest_url)


def _number(reader: Reader) -> int:
    token = reader.next()
    if not NUMBER.fullmatch(token.text):
        raise bad_request(f"MaxFiles must be a number, not {lenient_json.dumps(token.text[:60])}")
    return int(token.text)


_LISTED: dict[str, Callable[[Reader], Any]] = {
    "Suffix": Reader.strings,
    "MaxFiles": _number,
    "PathFormat": lambda reader: partitions.take_format(reader, _CREATED),
}
