"""Run the documentation's own examples against the local cluster, and record the result of each.

A script outside the test suite; it needs a checkout of MicrosoftDocs/dataexplorer-docs:

    KUSTO_DOCS=/path/to/dataexplorer-docs python -m tests.documented_examples

It takes every Kusto fence of the pages in ``PAGES``, runs it in a fresh cluster that has the entities it names, and writes
page, ordinal and verdict to ``documented_examples.tsv``, with no text of the pages. Placeholders are filled in. Secrets that
the pages omit (``;secretKey``, ``?...SAS...``) are replaced by a managed identity, which the local cluster supports.
"""

import gzip
import json
import os
import re
import sys
import textwrap
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from kqlmi import local
from kqlmi.errors import InputError
from kqlmi.local.cluster import LocalCluster

PAGES = re.compile(
    "managed-identit|external-?table|externaldata|continuous|export-data|update-policy|query-acceleration|ingest|"
    "storage-connection-strings|infer-storage-schema|callout|security-roles|list-blobs|execute-database-script|"
    "show-operations|principals"
)
RESULT = Path(__file__).with_suffix(".tsv")
DONE, KNOWN, REFUSED = "supported", "not supported", "refused otherwise"

# The columns of every table that an example names and its page does not create.
COLUMNS = (
    "Timestamp: datetime, CustomerName: string, EventType: string, State: string, Source: string, IsDeleted: bool, "
    "UserID: string, Level: string, CreatedOn: datetime, ExtentId: string, id: string, "
    "name: string, tags: dynamic, fields: dynamic"
)
OWN = {
    "TestTable": "Id: string, _timestamp: datetime, IsDeleted: bool",
    "SourceTableName": "name: string, tags: dynamic, fields: dynamic, timestamp: datetime",
    "MyTable": "x: int, s: string",
    "Storms": "EventId: int, StartTime: datetime, EndTime: datetime, EventType: string, Source: string, State: string",
    "LatestDocuments": "Id: string, IsDeleted: bool, Salary: long, Area: string",
    "Purchases": "what: string, price: long",
}
_FENCE = re.compile(
    r"^[ \t>]*```[ \t]*(?:kusto|kql|csl)\b[^\n]*\n(.*?)^[ \t>]*```", re.DOTALL | re.MULTILINE | re.IGNORECASE
)
_KNOWN = re.compile(
    r"the local cluster does not support (.+)|(KQL construct '.+?')|Authentication with a (Managed Identity) is disabled for"
)
_GUID = "[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
_FILE = re.compile(
    r"https://(\w+)\.blob\.core\.windows\.net/([\w-]+)(/[^'\";?]*\.\w+)?|abfss://([\w-]+)@(\w+)\.dfs[^/]*(/[^'\";]*\.\w+)?",
    re.IGNORECASE,
)
# Text that a page leaves for the reader to fill in, and three misprints.
_FILLED = [
    (r"<(objectId|managed_identity_id)>", "{identity}"),
    (r"(?<=managed_identity=)(\.\.\.|" + _GUID + ")", "{identity}"),
    (r"(?<=\"ManagedIdentity\": \")" + _GUID, "{identity}"),
    (r"(?<=\"ObjectId\": \")a{8}-[\w-]+", "{identity}"),
    (r"(?<=User Id=)\d+", "{identity}"),
    (r"<Tenant ?ID>|YOUR_TENANT_ID", "{tenant}"),
    (r"<(Application ?ID|Object ID)>|YOUR_APP_ID", "{principal}"),
    (r"<(My)?Database ?Name>|<MyDatabase>|YOUR_DATABASE_NAME", "MyDatabase"),
    (r"<(My|your )?table( name)?>|<TableName>|\[?<?ETName>?\]?", "Named"),
    (r"<TableNameMapping>", "Mapping"),
    (r"<BlobStorageLocation>/<FolderName>", "account.blob.core.windows.net/data/folder"),
    (
        r"(;(secretKey|storagekey[^'\"\n]*|sharedkey=\.\.\.|\.\.\.)|\?(\.\.\.(SAS\.\.\.)?|<[^'\"\n]*>))(?=['\"\n])",
        ";managed_identity={identity}",
    ),
    (r"https://https://", "https://"),
    (r"(?<=_timestamp:datetime)\)", ", IsDeleted:bool)"),
    (r"CosmosChangeFeed1", "TestTable"),
    (r"aadappID=", "aadapp="),
    (r"`(\w+)`", r"\1"),
    (r"(?<=\.net/)(Container|containerName2?|MobileEvents|MovileEvents)\b", "container"),
    (r"\bhttp://", "https://"),
    (r" and Table == \"StormEvents\"", ""),
    (r"\|\s*\.\.\.\s*$", ""),
]
_IDENTITY = re.compile(r"managed_?identity|Active Directory Managed Identity", re.IGNORECASE)
_DEFINES = re.compile(
    r"^\.(create|alter|create-or-alter) external table \S+\s+(?!mapping)|continuous-export \S+\s+over|policy update\s+\S|"
    r"^\.(alter|alter-merge) external table \S+ policy"
)


@dataclass(frozen=True)
class Example:
    """A fence of a page, as the requests in it."""

    page: str
    ordinal: int
    requests: tuple[str, ...]

    @property
    def concerns_identities(self) -> bool:
        """Return whether it uses an identity, or defines something that uses one."""
        return any(_IDENTITY.search(filled(one)) or _DEFINES.search(one) for one in self.requests)


def examples(docs: Path) -> Iterator[Example]:
    """Yield the fences of the pages."""
    for path in sorted(docs.rglob("*.md")):
        if PAGES.search(path.name) and path.name != "lightingest.md":  # its fences are command lines
            page = path.relative_to(docs).as_posix()
            for ordinal, text in enumerate(_FENCE.findall(path.read_text(encoding="utf-8")), 1):
                yield Example(page, ordinal, tuple(_requests(text)))


def _requests(fence: str) -> Iterator[str]:
    """Yield the requests of a fence, which are separated by blank lines and begin with each command."""
    text = textwrap.dedent(re.sub(r"^> ?", "", fence, flags=re.MULTILINE)).strip()
    parts: list[str] = []
    for block in re.split(r"\n\s*\n", text):
        is_script = re.match(r"\s*\.execute", block)
        for part in [block] if is_script else re.split(r"\n(?=\.)", block):
            if parts and re.match(r"\s*\|", part):
                parts[-1] += f"\n{part}"
            else:
                parts.append(part)
    for part in parts:
        code = re.sub(r"\A(\s*//[^\n]*\n)*", "", part).strip()
        if code and not re.fullmatch(r"(//[^\n]*\s*)*", code):
            yield code


def filled(text: str) -> str:
    """Return a text with its page's placeholders replaced; words in braces are filled in later."""
    for pattern, by in _FILLED:
        text = re.sub(pattern, by, text, flags=re.MULTILINE | re.IGNORECASE)
    return text


class Scene:
    """A fresh cluster with the entities that an example names."""

    def __init__(self, cluster: LocalCluster, folder: Path) -> None:
        self._cluster, self._folder = cluster, folder
        self.system, self.identity = (one.object_id for one in cluster.identities)
        self._database = "MyDatabase"
        self._location = f"kind=storage dataformat=csv (h@'https://account.blob.core.windows.net/data;managed_identity={self.identity}')"
        self._store("account", "data", "/a.txt")
        self._store("account", "data", "/folder/a.csv")
        self._store("mystorageaccount", "datasets", "/myfolder/a.csv")
        for account, path in (("storageaccount", "/part-1.parquet"), ("mycompanystorage", "")):
            self._store(account, "container", path)
        self.run(
            f".alter cluster policy managed_identity '{json.dumps([{'ObjectId': one.object_id, 'AllowedUsages': 'All'} for one in cluster.identities])}'"
        )

    def run(self, text: str) -> str:
        """Run a text and return its refusal, or an empty text."""
        is_command, where = text.startswith("."), self._cluster.url
        if re.match(r"\.(list|ingest-from-storage-queued|(show|cancel) queued)", text):
            where = self._cluster.ingest_url
        body = json.dumps(
            {
                "db": self._database,
                "csl": text,
                "properties": {
                    "Parameters": {
                        "URI": f"https://account.blob.core.windows.net/data/a.txt;managed_identity={self.identity}"
                    }
                },
            }
        )
        request = urllib.request.Request(  # noqa: S310 - the local cluster's own address
            f"{where}/v1/rest/{'mgmt' if is_command else 'query'}",
            body.encode(),
            {"Authorization": f"Bearer {self._cluster.token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request) as response:  # noqa: S310
                self.answer = json.load(response)
        except urllib.error.HTTPError as error:
            return str(json.load(error)["error"]["@message"])
        return ""

    def fill(self, text: str) -> str:
        """Return a text with its placeholders filled in."""
        text = filled(text)
        words = {"identity": self.identity, "tenant": str(uuid.UUID(int=1)), "principal": str(uuid.UUID(int=2))}
        for word, by in words.items():
            text = text.replace(f"{{{word}}}", by)
        return text

    def prepare(self, text: str) -> str:
        """Create the entities that a text needs, drop those it creates, and return it with the ID of an existing operation."""
        for name in {"MyDatabase", *re.findall(r"\bdatabase\s*(?:\(')?([A-Za-z]\w*)", text)}:
            self.run(f".create database ['{name}'] ifnotexists")
            self.run(f".add database ['{name}'] viewers ('aadapp={self.identity}', 'aadapp={self.system}')")
        if named := re.search(r"database\s*\('(\w+)'\)\.", text):
            self._database = named[1]
        for match in _FILE.finditer(text):
            account, container, path = (match[1], match[2], match[3]) if match[1] else (match[5], match[4], match[6])
            self._store(account, container, path or "")
        if created := re.match(r"\.create (external table|table|function)\s+(?:with.*\)\s*)?(\w+)\s*\(", text):
            self.run(f".drop {created[1]} {created[2]} ifexists")
        else:
            self._make(text)
        if re.match(rf"\.show operations? {_GUID}", text) and not self.run(".set async Operated <| print x = 1"):
            text = re.sub(_GUID, self.answer["Tables"][0]["Rows"][0][0], text, count=1)
        return text

    def _make(self, text: str) -> None:
        """Create the entities that a text names."""
        for name in re.findall(r"(?:external table|\bto table|external_table\(.)\s*(\w+)", text):
            kind = (
                self._location.replace("storage dataformat=csv", "delta")
                if "delta" in text or "acceler" in text
                else ""
            )
            self.run(f".create external table {name} ({COLUMNS}) {kind or self._location}")
            if text.startswith(".alter-merge external"):
                self.run(
                    re.sub(
                        r"\.alter-merge (.*?) '.*", r""".alter \1 '{"IsEnabled": false, "Hot": "1.00:00:00"}'""", text
                    )
                )
        named = re.findall(
            r"(?<!external )(?<!\bto )\btable\s+\(?(?:\w+\.|database ?\(.\w+.\)\.)?(\w+)|\bover \((\w+)", text
        )
        named += re.findall(r"\"Source\\?\": ?\\?\"(\w+)|<\|\s*(\w+)\s*(?:\||$)|^(\w+)\s*(?:\||$)", text.strip())
        for name in {name for names in named for name in names if name} | {name for name in OWN if name in text}:
            self.run(f".create table {name} ({OWN.get(name, COLUMNS)})")
        if appended := re.match(r"\.append (?:async )?(\w+).*?(<\|.*)", text, re.DOTALL):
            self.run(f".set {appended[1]} {appended[2]}")
        for name in re.findall(r"\.(?:show|add|drop|set) function (\w+)", text):
            self.run(f".create function {name}() {{ print 1 }}")
        for name in re.findall(r"\.show continuous-export (\w+)", text):
            self.run(f".create table Facts ({COLUMNS})")
            self.run(f".create external table Kept ({COLUMNS}) {self._location}")
            self.run(
                f".create-or-alter continuous-export {name} over (Facts) to table Kept with (intervalBetweenRuns=1h, managedIdentity='{self.identity}') <| Facts"
            )

    def _store(self, account: str, container: str, path: str) -> None:
        root = self._folder / f"{account}-{container}".lower()
        target = root / path.lstrip("/")
        (target.parent if path else root).mkdir(parents=True, exist_ok=True)
        if path.endswith(".parquet"):
            empty = "SELECT NULL::TIMESTAMP AS Timestamp, '' AS DeviceId, 1.5::DOUBLE AS Value"
            duckdb.execute(f"COPY ({empty}) TO ? (FORMAT parquet)", [str(target)])
        elif path:
            target.write_bytes(gzip.compress(b"") if path.endswith(".gz") else b"")
        base = f"https://{account}.blob.core.windows.net/{container}"
        with suppress(InputError):  # not a valid container name: the text itself will be refused for it
            self._cluster.add_storage(base, root)
            for identity in (self.identity, self.system):
                self._cluster.assign_role(identity, base, "Storage Blob Data Contributor")


def verdict(example: Example, before: list[Example]) -> tuple[str, str]:
    """Return the verdict on an example, and the refusal."""
    with (
        TemporaryDirectory() as folder,
        local.start(databases=["MyDatabase"], identities=["system", "mine"]) as cluster,
    ):
        scene = Scene(cluster, Path(folder))
        for one in (
            text
            for held in before
            for text in held.requests
            if re.match(r"\.(create|execute|set-or-append|alter)", text)
        ):
            scene.run(scene.prepare(scene.fill(one)))
        refusals = [scene.run(scene.prepare(scene.fill(text))) for text in example.requests]
    unknown = [one for one in refusals if one and not _KNOWN.search(one)]
    known = [one for one in refusals if one]
    return (REFUSED, unknown[0]) if unknown else (KNOWN, known[0]) if known else (DONE, "")


def main() -> None:
    """Write the verdicts, and print their shares."""
    rows: list[str] = []
    shares: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    before: list[Example] = []
    for example in examples(Path(os.environ["KUSTO_DOCS"])):
        before = [one for one in before if one.page == example.page]
        found, why = verdict(example, before)
        before.append(example)
        refused = _KNOWN.search(why)
        shares[example.concerns_identities][found] += 1
        rows.append(
            "\t".join(
                (
                    example.page,
                    str(example.ordinal),
                    str(example.concerns_identities),
                    found,
                    next(filter(None, refused.groups())) if refused else "",
                )
            )
        )
        if found == REFUSED:
            sys.stdout.write(f"{example.page} {example.ordinal}: {why}\n")
    RESULT.write_text("page\tordinal\tidentity\tverdict\tfeature\n" + "\n".join(rows) + "\n", encoding="utf-8")
    features = Counter(row.rpartition("\t")[2] for row in rows)
    for feature, count in sorted((name, count) for name, count in features.items() if name):
        sys.stdout.write(f"not supported: {feature} ({count})\n")
    for concerns, counts in shares.items():
        total = sum(counts.values())
        sys.stdout.write(f"\n{'of identities' if concerns else 'others'}: {total}\n")
        for found in (DONE, KNOWN, REFUSED):
            sys.stdout.write(f"  {found:<28}{counts[found]:>4}{counts[found] / max(total, 1):>7.0%}\n")


if __name__ == "__main__":
    main()
