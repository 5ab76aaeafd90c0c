"""The plugin ``infer_storage_schema``, which infers the columns of files."""

import json
from contextlib import suppress
from typing import Any

from kqlmi.local.enforce import Use
from kqlmi.local.query.expansion import Expansion, Source, plugin
from kqlmi.local.query.external_calls import Site
from kqlmi.local.state.state import Database
from kqlmi.local.storage import files, formats
from kqlmi.local.storage.storage import Opened, open_location
from kqlmi.local.values import connectionstrings
from kqlmi.local.values.faults import bad_request
from kqlmi.local.values.tables import Column, Table, columns, schema_text

_SCHEMA = columns("CslSchema: string")
_OPTIONS = {"StorageContainers", "DataFormat", "FileExtension", "FileNamePrefix", "Mode", "InferenceOptions"}


@plugin("infer_storage_schema")
def infer_storage_schema(expansion: Expansion, site: Site, context: Database) -> Source:
    """Return the inferred columns of the files in some containers, as one row with a schema string."""
    if len(site.arguments) != 1:
        raise bad_request("infer_storage_schema takes one property bag")
    options = property_bag(expansion.value(site, site.arguments[0], context), site.kind)
    if unknown := sorted(options.keys() - _OPTIONS):
        raise bad_request(f"infer_storage_schema: the local cluster does not support the option '{unknown[0]}'")
    containers = options.get("StorageContainers")
    if not isinstance(containers, list) or not containers or not all(isinstance(one, str) for one in containers):
        raise bad_request("infer_storage_schema: StorageContainers must be an array of connection strings")
    kind = formats.format_of("", str(options.get("DataFormat", "")))
    use = Use("infer_storage_schema", context.name, expansion.question.principal)
    locations = [connectionstrings.parse(one) for one in containers]

    def rows() -> Table:
        opened = [open_location(expansion.state, location, use) for location in locations]
        return Table(_SCHEMA, ((schema_text(_infer(opened, kind, options)),),))

    return Source(_SCHEMA, rows)


def property_bag(value: Any, what: str) -> dict[str, Any]:
    """Return a dynamic value, which may be JSON text, as an object, or raise if it is not one."""
    if isinstance(value, str):
        with suppress(ValueError):
            value = json.loads(value)
    if not isinstance(value, dict):
        raise bad_request(f"{what}: a property bag is expected")
    return value


def _infer(opened: list[Opened], kind: str, options: dict[str, Any]) -> tuple[Column, ...]:
    prefix, extension = str(options.get("FileNamePrefix", "")), str(options.get("FileExtension", ""))
    wanted = [
        (one, blob.path)
        for one in opened
        for blob in one.blobs()
        if blob.path.rpartition("/")[2].startswith(prefix) and blob.path.endswith(extension)
    ]
    if not wanted:
        raise bad_request("infer_storage_schema: no file was found")
    mode = options.get("Mode", "last")
    if mode not in ("any", "last", "all"):
        raise bad_request("infer_storage_schema: Mode must be any, last or all")
    if mode == "any":
        wanted = wanted[:1]
    elif mode == "last":
        wanted = [max(wanted, key=lambda pair: (pair[0].root / pair[1]).stat().st_mtime_ns)]
    has_header = property_bag(options.get("InferenceOptions", {}), "InferenceOptions").get("UseFirstRowAsHeader", False)
    merged: dict[str, str] = {}
    for one, path in wanted:
        for column in files.infer(one.root, path, kind, has_header=has_header is True):
            known = merged.setdefault(column.name, column.type)
            merged[column.name] = known if known == column.type else "string"
    return tuple(Column(name, kind) for name, kind in merged.items())
