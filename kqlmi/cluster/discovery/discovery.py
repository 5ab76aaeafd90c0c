"""The discovery of identities' uses: every source is read, and their needs are combined."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from kqlmi.cluster import databases
from kqlmi.cluster.connection import Connection
from kqlmi.cluster.discovery.sources import SOURCES, Found, SourceCommand, externals
from kqlmi.cluster.discovery.uses import External, Place
from kqlmi.cluster.protocol.table import Table
from kqlmi.errors import ForbiddenError, KqlmiError
from kqlmi.fanout import Progress, each, unseen
from kqlmi.model.entities import Scope
from kqlmi.model.uses.needs import (
    DATA_CONNECTIONS,
    EXTERNAL_TABLES,
    Discovery,
    Gap,
    Need,
    Outcome,
    Source,
    merged,
)

_SCRIPT: Final = ".show database schema as csl script"
_NO_ARM: Final = Source(
    DATA_CONNECTIONS, "", "not read", detail="no Kusto command lists them, and Azure Resource Manager was not queried"
)


def discover(connection: Connection, progress: Progress = unseen) -> Discovery:
    """Return the uses of identities that are visible to the caller. A source that cannot be read is listed as such.

    Raises:
        KqlmiError: The databases cannot be listed.
    """
    listed = connection.execute(".show databases")
    names = databases.names(listed)
    jobs = [(row, name) for row in SOURCES for name in ([""] if row.everywhere else names)]
    found = each(lambda job: _ask(connection, *job), jobs, lambda found: progress(len(found), len(jobs), "sources"))
    answers = {(row.name, name): answer for (row, name), answer in zip(jobs, found, strict=True)}
    known = _externals({name: answers[EXTERNAL_TABLES, name] for name in names})
    sources: list[Source] = []
    shown: list[Found] = []
    repeated: list[Found] = []
    for row, name in jobs:
        has_script = isinstance(answers[_SCRIPT, name], Table) if name else True
        place = Place(row.name, row.window, name, known, has_script=has_script)
        source, items = _read(row, answers[row.name, name], place)
        sources.append(source)
        (repeated if row.repeats else shown).extend(items)
    scopes = tuple(map(Scope.database, names))
    discovery = Discovery(scopes, (*sources, _NO_ARM), followers=databases.following(listed))
    return _with(discovery, shown, repeated)


def _ask(connection: Connection, row: SourceCommand, database: str) -> Table | KqlmiError:
    try:
        return connection.execute(row.text(database), database or None)
    except KqlmiError as error:
        return error


def _externals(answers: Mapping[str, Table | KqlmiError]) -> dict[Scope, dict[str, External]]:
    return {
        Scope.database(name): externals(answer, Place(EXTERNAL_TABLES, "", name))
        for name, answer in answers.items()
        if isinstance(answer, Table) and answer.has("ConnectionStrings")
    }


def _read(row: SourceCommand, answer: Table | KqlmiError, place: Place) -> tuple[Source, list[Found]]:
    """Return the outcome of reading a source, and the needs and gaps that it shows."""
    items: list[Found] = []
    if isinstance(answer, Table):
        try:
            items = list(row.read(answer, place))
        except KqlmiError as error:
            answer = error
    if isinstance(answer, KqlmiError):
        outcome: Outcome = "not permitted" if isinstance(answer, ForbiddenError) else "failed"
        return Source(row.name, place.database, outcome, row.window, answer.message), []
    is_masked = any(isinstance(one, Need) and one.identity is None for one in items) and _masks(answer)
    return Source(row.name, place.database, "masked" if is_masked else "read", row.window), items


def _with(discovery: Discovery, shown: list[Found], repeated: list[Found]) -> Discovery:
    """Return the discovery with all needs found.

    A need from ``repeated`` (sources that restate others) is added only if ``shown`` does not contain it already.
    """
    own = {scope: scope for scope in discovery.databases}
    first, more = (
        [replace(one, scope=own[one.scope]) for one in found if isinstance(one, Need) and one.scope in own]
        for found in (shown, repeated)
    )
    keys = {(one.identity, one.usage, one.scope) for one in first}
    sure = replace(discovery, needs=merged(first))
    again = [
        one
        for one in more
        if (one.identity, one.usage, one.scope) not in keys
        and (one.identity is not None or sure.doubt(one.usage, one.scope))
    ]
    gaps: dict[tuple[Scope, str], Gap] = {}
    for gap in (one for one in (*shown, *repeated) if isinstance(one, Gap)):
        earlier = gaps.get((gap.scope, gap.subject))
        gaps[gap.scope, gap.subject] = replace(earlier, evidence=(*earlier.evidence, *gap.evidence)) if earlier else gap
    return replace(discovery, needs=merged((*first, *again)), gaps=tuple(gaps.values()))


def _masks(answer: Table) -> bool:
    return any("***" in str(value) for row in answer.rows for value in row)
