"""A blob to ingest: its address, the managed identity that may follow it, and its format."""

import re
from dataclasses import dataclass
from typing import Final

from kqlmi.errors import InputError
from kqlmi.model.entities import ObjectId, did_you_mean, object_id
from kqlmi.redaction import is_secret

_ADDRESS: Final = re.compile(
    r"(?:https://[a-z0-9.-]+(?::\d{1,5})?|abfss://[a-z0-9$-]+@[a-z0-9.-]+)/[^\s?#;]+", re.IGNORECASE
)
# A signature or key in the path, without the ? that would make it a query string.
_SECRET: Final = re.compile(r"%3f|(?:sig|accountkey|sharedaccesssignature)=", re.IGNORECASE)
_IDENTITY: Final = "managed_identity="
FORMATS: Final = (
    *("csv", "tsv", "scsv", "sohsv", "psv", "txt", "tsve", "json", "singlejson", "multijson", "avro", "apacheavro"),
    *("parquet", "sstream", "orc", "raw", "w3clogfile"),
)
"""The data formats of ingestion, as azure-kusto-data spells them."""
WRITTEN_FORMATS: Final = ("csv", "tsv", "json", "parquet")
"""The formats that exports write. Source: the page on exporting data to storage."""
EVENT_FORMATS: Final = tuple(one for one in FORMATS if one not in {"raw", "sstream"})
"""The formats of events. Source: the Event Hubs overview, which excludes RAW; azure-mgmt-kusto has no SSTREAM."""
_EXAMPLE: Final = "https://<account>.blob.core.windows.net/<container>/<blob>"


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob with its address, without credentials; ``identity`` is None if none follows the address."""

    url: str
    identity: ObjectId | None = None

    def __str__(self) -> str:
        return f"{self.url};{_IDENTITY}{self.identity}" if self.identity else self.url

    def format(self, given: str = "") -> str:
        """Return the data format: the given one, or the one that the file's extension stands for.

        Raises:
            InputError: The format does not exist, or the extension is not known.
        """
        if given:
            if given.casefold() not in FORMATS:
                raise InputError(f"Data format {given!r} does not exist.", hint=did_you_mean(given, FORMATS))
            return given.casefold()
        name = self.url.rpartition("/")[2].casefold().removesuffix(".gz").removesuffix(".zip")
        ending = name.rpartition(".")[2] if "." in name else ""
        if ending not in FORMATS:
            raise InputError(
                "The URI does not end in the extension of a known data format.",
                hint="Specify it, for example --format csv",
            )
        return ending


def blob(text: str) -> Blob:
    """Read ``https://…`` or ``abfss://…``, optionally followed by ``;managed_identity=<object ID>`` or ``=system``.

    Raises:
        InputError: It is anything else, such as a URI with a credential. The message repeats none of it.
    """
    url, semicolon, rest = text.strip().partition(";")
    named = rest.strip().removeprefix(_IDENTITY)
    is_more = bool(semicolon) and (named == rest.strip() or ";" in named)
    if "?" in url or is_more or _SECRET.search(url) or is_secret(text):
        raise InputError(
            "The URI contains a query string or credentials. None of it was sent.",
            hint=f"Pass only the address, {_EXAMPLE}. If the rest was a key or a SAS, remove it from the cell, which is"
            " saved with the notebook, and rotate the key or revoke the SAS.",
        )
    if not _ADDRESS.fullmatch(url):
        raise InputError("The URI is not the address of a blob.", hint=f"Use the form {_EXAMPLE}.")
    if not semicolon:
        return Blob(url)
    try:
        return Blob(url, object_id(named))
    except InputError:
        raise InputError(
            "The value of managed_identity= is neither an object ID nor the word system.",
            hint="Remove ;managed_identity=… and use --identity, which also accepts a name or a client ID.",
        ) from None
