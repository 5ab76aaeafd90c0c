"""The entities of a cluster other than tables: external tables, functions, policies, exports and pending ingestions."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kqlmi.local.language.partitions import Partition
from kqlmi.local.values import kusto_time, lenient_json
from kqlmi.local.values.connectionstrings import Location, named_identities
from kqlmi.local.values.principals import Caller
from kqlmi.local.values.tables import Column

UPLOADS = "kqlmi-uploads"
"""The container to which ingestion clients upload files."""
UPLOADED = f"{UPLOADS}:"
"""The prefix of a job's source if that is an uploaded file."""


@dataclass(frozen=True)
class Layout:
    """The names and the layout of files; ``headers`` is ``all``, ``firstfile`` or ``none``."""

    format: str
    prefix: str = ""
    extension: str = ""
    headers: str = "none"
    is_compressed: bool = False

    def takes(self, blob: Location) -> bool:
        """Check whether the name of a file matches the layout."""
        name = blob.path.rpartition("/")[2]
        return name.startswith(self.prefix) and name.removesuffix(".gz").endswith(self.extension.removesuffix(".gz"))


@dataclass(frozen=True)
class ExternalTable:
    """A table whose rows are elsewhere: in files or in a SQL database. Its ``connections`` are stored without their secrets.

    ``kind`` is Blob, Delta or Sql, ``target`` the name of a SQL table; ``acceleration`` is a policy as JSON, or empty.
    """

    name: str
    columns: tuple[Column, ...]
    layout: Layout
    locations: tuple[Location, ...]
    folder: str = ""
    docstring: str = ""
    kind: str = "Blob"
    flow: str = "external_table.storage"
    connections: tuple[str, ...] = ()
    target: str = ""
    partitions: tuple[Partition, ...] = ()
    path_format: str = ""
    acceleration: str = ""

    @property
    def dialect(self) -> str:
        """The SQL dialect, as spelled in the flow's ID."""
        return self.flow.rpartition(".")[2]

    @property
    def shown(self) -> list[str]:
        """The connection strings, without their secrets."""
        return [*self.connections, *(location.shown for location in self.locations)]

    @property
    def identities(self) -> list[str]:
        """The managed identities with which the table is opened."""
        named = [one for text in self.connections for one in named_identities(text)]
        return named + [location.identity for location in self.locations if location.identity]


@dataclass(frozen=True)
class Function:
    """A stored function; ``parameters`` and ``body`` are source code, including their brackets and braces."""

    name: str
    parameters: str
    body: str
    folder: str = ""
    docstring: str = ""

    def defined_as(self, body: str) -> str:
        """Return the statement that defines the function with another body."""
        return f"function [{lenient_json.dumps(self.name)}]{self.parameters} {body}"


@dataclass(frozen=True)
class UpdatePolicy:
    """A query that runs over the rows ingested into ``source`` and fills the table that the policy belongs to."""

    source: str
    query: str
    is_enabled: bool = True
    is_transactional: bool = False
    propagates: bool = False
    managed_identity: str = ""
    is_wildcard: bool = False

    def takes(self, source: str) -> bool:
        """Check whether the policy runs over the rows ingested into a table."""
        if not self.is_wildcard or "*" not in self.source:
            return self.source == source
        first, *middle = self.source.split("*")
        last = middle.pop()
        place, end = len(first), len(source) - len(last)
        if not source.startswith(first) or not source.endswith(last):
            return False
        for part in middle:  # each at its first occurrence: unlike a regular expression, this cannot backtrack
            found = source.find(part, place, end)
            if found < 0:
                return False
            place = found + len(part)
        return place <= end


@dataclass(frozen=True)
class ContinuousExport:
    """A query whose new rows are exported to an external table at an ``interval``, in ticks.

    ``forced_latency`` is only shown: rows are exported without waiting for it.
    """

    name: str
    external_table: str
    query: str
    over: tuple[str, ...]
    interval: int
    managed_identity: str = ""
    is_disabled: bool = False
    forced_latency: int = 0


@dataclass(frozen=True)
class DataConnection:
    """A connection from an event hub to a table; ``identity`` is the resource ID of the identity that it uses.

    ``hub`` is (namespace, hub) in lower case, ``offset`` the number of its events that have been processed.
    """

    name: str
    database: str
    table: str
    hub: tuple[str, str]
    identity: str
    properties: Mapping[str, Any]
    offset: int = 0


@dataclass(frozen=True)
class IngestionJob:
    """A file waiting to be ingested for ``caller``; ``report_level`` is one of the levels in ``statusqueues``."""

    database: str
    table: str
    source: str
    properties: Mapping[str, Any]
    caller: Caller
    flow: str
    source_id: str
    report_level: int = 1


@dataclass(frozen=True)
class Report:
    """A message of a status queue; its receiver hides it until ``visible``, and deletes it with its ``receipt``."""

    text: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    inserted: int = field(default_factory=kusto_time.now)
    visible: int = 0
    receipt: str = ""
    received: int = 0
