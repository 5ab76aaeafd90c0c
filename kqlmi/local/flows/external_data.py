"""The operators ``externaldata`` and ``inline_external_table``, which read files named in the query."""

from kqlmi.local.enforce import Use
from kqlmi.local.query.expansion import Expansion, Source, reader
from kqlmi.local.query.external_calls import Site
from kqlmi.local.state.entities import ExternalTable, Layout
from kqlmi.local.state.state import Database
from kqlmi.local.storage import transfer
from kqlmi.local.storage.formats import format_of
from kqlmi.local.values import connectionstrings
from kqlmi.local.values.faults import bad_request


@reader("externaldata")
def externaldata(expansion: Expansion, site: Site, context: Database) -> Source:
    """Evaluate ``externaldata (columns) ['connection string', …] with (format = …)``."""
    transfer.require(site.properties, {"format", "ignorefirstrecord"}, others={"ingestionmapping"})
    skips = transfer.value(site.properties, "ignorefirstrecord", default=False) is True
    given = str(transfer.value(site.properties, "format", ""))
    return _source(expansion, site, context, Layout(given, headers="all" if skips else "none"))


@reader("inline_external_table")
def inline_external_table(expansion: Expansion, site: Site, context: Database) -> Source:
    """Evaluate ``inline_external_table (columns) kind = storage dataformat = … ('connection string', …)``."""
    return _source(expansion, site, context, transfer.layout(format_of("", site.format), site.properties))


def _source(expansion: Expansion, site: Site, context: Database, laid: Layout) -> Source:
    """Return the rows of the files; the default format is that of the first file's extension."""
    use = Use(site.kind, context.name, expansion.question.principal)
    texts = [expansion.text(site, argument, context) for argument in site.arguments]
    locations = [connectionstrings.parse(text) for text in texts]
    if not locations:
        raise bad_request(f"{site.kind} needs a connection string")
    layout = Layout(format_of(locations[0].path, laid.format), laid.prefix, laid.extension, laid.headers)
    table = ExternalTable(
        "", site.columns, layout, tuple(locations), partitions=site.partitions, path_format=site.path_format
    )
    return source(expansion, table, use, folders=site.kind == "inline_external_table")


def source(expansion: Expansion, table: ExternalTable, use: Use, *, folders: bool) -> Source:
    """Return the rows of a table's files; with ``folders``, its locations may be folders."""
    return Source(
        (*table.columns, *transfer.virtual_columns(table)),
        lambda: transfer.read(expansion.state, table, use, folders=folders, run=expansion.question.run),
    )
