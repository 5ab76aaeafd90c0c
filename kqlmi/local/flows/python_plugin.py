"""The plugin ``python``, which runs a script over the rows of a query, with artifacts from storage."""

from kqlmi.local.enforce import Use
from kqlmi.local.flows.schema_inference import property_bag
from kqlmi.local.language.lexer import Kind
from kqlmi.local.language.reader import Mismatch, Reader
from kqlmi.local.query.expansion import Expansion, Source, plugin
from kqlmi.local.query.external_calls import Site
from kqlmi.local.sandbox import sandbox
from kqlmi.local.state.state import Database
from kqlmi.local.storage import files
from kqlmi.local.storage.storage import open_location
from kqlmi.local.values import connectionstrings
from kqlmi.local.values.faults import bad_request
from kqlmi.local.values.tables import Column, Table, kusto_type

FLOW = "python.external_artifacts"
_NAMES = ("output_schema", "script", "script_parameters", "external_artifacts", "spill_to_disk")
_LARGEST = 64 * 1024 * 1024


@plugin("python")
def python(expansion: Expansion, site: Site, context: Database) -> Source:
    """Return the result of a script over its input rows."""
    if "python" not in expansion.state.world.plugins:
        raise bad_request("the python plugin is not enabled on this cluster; run .enable plugin python")
    if site.source is None:
        raise bad_request("the python plugin needs input rows: write T | evaluate python(…)")
    given = _arguments(site)
    table = expansion.before(site, site.source, context)
    output = _output(given["output_schema"], table)
    script = expansion.text(site, given["script"], context)
    parameters = property_bag(expansion.value(site, given.get("script_parameters", "dynamic({})"), context), "python")
    urls = property_bag(expansion.value(site, given.get("external_artifacts", "dynamic({})"), context), "python")
    question = expansion.question

    def rows() -> Table:
        artifacts = {name: _fetch(expansion, context, str(url)) for name, url in urls.items()}
        return sandbox.run_script(
            script, table, parameters, output, artifacts, run=question.run, seconds=question.seconds
        )

    return Source(output, rows)


def _fetch(expansion: Expansion, context: Database, url: str) -> bytes:
    use = Use(FLOW, context.name, expansion.question.principal)
    opened = open_location(expansion.state, connectionstrings.parse(url), use)
    return files.read_bytes(opened.root, opened.location.path, _LARGEST)


def _arguments(site: Site) -> dict[str, str]:
    """Return the arguments by name, whether they were passed by position or by name."""
    given: dict[str, str] = {}
    for place, text in enumerate(site.arguments):
        reader = Reader(text)
        name = reader.next()
        if name.text in _NAMES and reader.take("=") and reader.peek().text != "=":
            text = text[reader.position :]  # noqa: PLW2901
            wanted = name.text
        elif place < len(_NAMES):
            wanted = _NAMES[place]
        else:
            raise bad_request("python takes at most five arguments")
        if wanted in given:
            raise bad_request(f"python: the argument {wanted} is specified twice")
        given[wanted] = text
    if not {"output_schema", "script"} <= given.keys():
        raise bad_request("python needs an output schema and a script: python(typeof(*), 'result = df')")
    return given


def _output(text: str, table: Table) -> tuple[Column, ...]:
    """Return the columns of ``typeof(*, name: type, …)``."""
    reader = Reader(text)
    found: list[Column] = []
    try:
        reader.expect("typeof")
        for part in reader.expressions("(", ")"):
            if part == "*":
                found += table.columns
                continue
            piece = Reader(part)
            name = piece.name()
            piece.expect(":")
            token = piece.next()
            kind = kusto_type(token.text)
            if kind is None or token.kind is Kind.STRING or not piece.at_end():
                raise bad_request(f"python: '{part}' in typeof is not a column")
            found.append(Column(name, kind))
    except Mismatch as mismatch:
        raise mismatch.as_fault(text) from None
    return tuple({column.name: column for column in found}.values())  # later columns replace earlier ones
