"""The verb that ingests a blob as a managed identity."""

from typing import Annotated

from kqlmi.errors import CellError
from kqlmi.model.uses.blobs import FORMATS
from kqlmi.session import Ingestion
from kqlmi.verbs.parameters import DatabaseName, IdentityText
from kqlmi.verbs.registry import Context, verb


@verb()
def ingest(
    context: Context,
    uri: str,
    into: Annotated[str, ("into",)],
    table: str,
    /,
    *,
    identity: IdentityText = "",
    database: DatabaseName = "",
    format_: Annotated[str, FORMATS] = "",
    mapping: str = "",
    ignore_first_record: bool = False,
    wait: int = 600,
) -> Ingestion:
    """Ingest a blob into a table as a managed identity, and follow it to success or failure.

    %kqlmi ingest https://… into TABLE --identity NAME. The identity is a display name, an object ID, a client ID or
    system. Whether a policy allows it is checked first, and where none does, nothing is sent. The URI holds no key and
    no SAS: a managed identity needs neither. --format is told by the file's ending where it is not said, --mapping names
    an ingestion mapping, --ignore-first-record skips a header. --wait is in seconds, 0 does not follow. The status
    queues belong to everybody who ingests, so nothing is taken out of them.
    """
    # None of the words is repeated: the one in the wrong place may be a URI with a key.
    if into.casefold() != "into":
        raise CellError("The word into is missing.", hint="Write %kqlmi ingest URI into TABLE --identity NAME")
    return context.session.ingest(
        uri,
        table,
        identity=identity,
        database=database,
        format=format_,
        mapping=mapping,
        ignore_first_record=ignore_first_record,
        wait=wait,
        tell=context.note,
        progress=lambda seconds: context.waited(seconds, wait),
    )
