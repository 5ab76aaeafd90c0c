"""A blob to ingest: its address, the managed identity that may be written behind it, and its format."""

import re
from dataclasses import dataclass
from typing import Final

from kqlmi.errors import InputError
from kqlmi.model.entities import ObjectId, did_you_mean, object_id
from kqlmi.redaction import is_secret

_ADDRESS: Final = re.compile(
    r"(?:https://[a-z0-9.-]+(?::\d{1,5})?|abfss://[a-z0-9$-]+@[a-z0-9.-]+)/[^\s?#;]+", re.IGNORECASE
)
# A signature or key that got into the path, where no query string begins.
_SECRET: Final = re.compile(r"%3f|(?:sig|accountkey|sharedaccesssignature)=", re.IGNORECASE)
_IDENTITY: Final = "managed_identity="
FORMATS: Final = (
    *("csv", "tsv", "scsv", "sohsv", "psv", "txt", "tsve", "json", "singlejson", "multijson", "avro", "apacheavro"),
    *("parquet", "sstream", "orc", "raw", "w3clogfile"),
)
"""The data formats of ingestion, as azure-kusto-data names them."""
WRITTEN_FORMATS: Final = ("csv", "tsv", "json", "parquet")
"""The formats that exports write. Source: the page on exporting data to storage."""
EVENT_FORMATS: Final = tuple(one for one in FORMATS if one not in {"raw", "sstream"})
"""The formats of events. Source: the Event Hubs overview, which excludes RAW; azure-mgmt-kusto has no SSTREAM."""
_EXAMPLE: Final = "https://<account>.blob.core.windows.net/<container>/<blob>"


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob by its address, which holds no credentials; ``identity`` is None where none is written behind it."""

    url: str
    identity: ObjectId | None = None

    def __str__(self) -> str:
        return f"{self.url};{_IDENTITY}{self.identity}" if self.identity else self.url

    def format(self, given: str = "") -> str:
        """Return the data format: the one that was given, or that of the file's ending; InputError where it is none."""
        if given:
            if given.casefold() not in FORMATS:
                raise InputError(f"There is no data format {given!r}.", hint=did_you_mean(given, FORMATS))
            return given.casefold()
        name = self.url.rpartition("/")[2].casefold().removesuffix(".gz").removesuffix(".zip")
        ending = name.rpartition(".")[2] if "." in name else ""
        if ending not in FORMATS:
            raise InputError("The end of the URI does not tell the data format.", hint="Say it: --format csv")
        return ending


def blob(text: str) -> Blob:
    """Read ``https://…`` or ``abfss://…``, alone or with ``;managed_identity=<object ID>`` or ``=system`` behind it.

    Anything else, and what could be a credential, is an InputError, which repeats none of the text.
    """
    url, semicolon, rest = text.strip().partition(";")
    named = rest.strip().removeprefix(_IDENTITY)
    is_more = bool(semicolon) and (named == rest.strip() or ";" in named)
    if "?" in url or is_more or _SECRET.search(url) or is_secret(text):
        raise InputError(
            "The URI carries a query string or credentials, and nothing of it was sent.",
            hint=f"A managed identity needs the address alone, {_EXAMPLE}. If that was a key or a SAS, clear it from the"
            " cell, which gets saved, and renew it.",
        )
    if not _ADDRESS.fullmatch(url):
        raise InputError("That is not the address of a blob.", hint=f"Write {_EXAMPLE}.")
    if not semicolon:
        return Blob(url)
    try:
        return Blob(url, object_id(named))
    except InputError:
        raise InputError(
            "What follows managed_identity= is neither an object ID nor the word system.",
            hint="A client ID or a name does not work there: leave it away, and say --identity.",
        ) from None
