"""The reader of policy files."""

from collections.abc import Iterator, Mapping

from kqlmi.errors import PolicyError
from kqlmi.model import jsontext
from kqlmi.model.entities import ObjectId, Scope, database_key, did_you_mean, usage_name
from kqlmi.model.vocabulary import named_usage
from kqlmi.policyfile.acceptances import acceptances
from kqlmi.policyfile.document import PolicyFile, Properties, Row, Section, as_object_id
from kqlmi.policyfile.nodes import Node, Slot, decode, parse

FORMAT = 1
KEYS = ("kqlmi", "mode", "unlisted-databases", "identities", "unknown-usages", "accepted", "cluster", "databases")
Fields = Mapping[str, Slot]

_USAGES_HINT = "List usages in brackets, for example [NativeIngestion, ExternalTable], or [] for none."
_SCOPE_HINT = "List identities with their usages, or write none for no policy, or {} for an empty one."
# The properties that other keys of the file set, or that the service fills in.
_NOT_PROPERTIES = {"ObjectId", "AllowedUsages", "ClientId", "TenantId", "DisplayName", "IsSystem"}


def read(document: str | bytes) -> PolicyFile:
    """Read a policy file.

    Raises:
        PolicyFileError: The file is not UTF-8 or not YAML, has a newer format, or contains something invalid.
    """
    root = parse(decode(document))
    hint = "A policy file begins with kqlmi: 1 and mode: complete; kqlmi export writes a complete file."
    fields = {slot.key.text: slot for slot in root.mapping("the file", hint)}
    _check_format(root, fields)
    for name, slot in fields.items():
        if name not in KEYS:
            raise slot.key.error(f"unknown key {name!r} in a policy file.", did_you_mean(name, KEYS))
    if not {"accepted", "cluster", "databases"} & fields.keys():
        raise root.error("the file has neither cluster: nor databases:.", "Add one of them; kqlmi export writes both.")
    mode = _choice(fields, "mode", ("complete", "partial"))
    unlisted = _choice(fields, "unlisted-databases", ("untouched", "none"), default="untouched")
    if mode == "partial" and unlisted == "none":
        raise fields["unlisted-databases"].value.error(
            "mode: partial cannot govern unlisted databases.", "Use mode: complete, or remove the line."
        )
    names = dict(_names(fields["identities"].value)) if "identities" in fields else {}
    unknown = _usages(fields["unknown-usages"], "unknown-usages").value.items if "unknown-usages" in fields else ()
    return PolicyFile(
        "partial" if mode == "partial" else "complete",
        unlisted == "none",
        names,
        frozenset(usage_name(item.text) for item in unknown),
        dict(_sections(fields, names, partial=mode == "partial")),
        fields,
        tuple(acceptances(fields["accepted"].value, names)) if "accepted" in fields else (),
    )


def _check_format(root: Node, fields: Fields) -> None:
    if "kqlmi" not in fields:
        raise root.error("the key kqlmi is missing.", "The first line of a policy file is kqlmi: 1.")
    node = fields["kqlmi"].value
    version = node.scalar("kqlmi")
    if version == str(FORMAT):
        return
    if version.isdecimal() and int(version[:9]) > FORMAT:
        raise node.error(f"format {version} is newer than format {FORMAT}, which this kqlmi reads.", "Upgrade kqlmi.")
    raise node.error(f"{version!r} is not a version of the format.", f"Write kqlmi: {FORMAT}.")


def _choice(fields: Fields, name: str, choices: tuple[str, str], default: str = "") -> str:
    hint = f"Write {name}: {choices[0]}, or {name}: {choices[1]}."
    if name not in fields:
        if default:
            return default
        raise fields["kqlmi"].key.error(f"the key {name} is missing.", hint)
    node = fields[name].value
    if (value := node.scalar(name, hint)) not in choices:
        raise node.error(f"{name} cannot be {value!r}.", hint)
    return value


def _names(node: Node) -> Iterator[tuple[str, ObjectId]]:
    for _, key, value in node.mapping("identities", "List names with object IDs."):
        if as_object_id(key.text):
            raise key.error(f"the name {key.text!r} would be read as an object ID.", "Choose another name.")
        identity = as_object_id(value.scalar(f"the object ID of {key.text!r}"))
        if not identity:
            raise value.error(
                f"{value.text!r} is not an object ID.",
                "Use a GUID, for example 11111111-2222-3333-4444-555555555555.",
            )
        yield key.text.casefold(), identity


def _sections(fields: Fields, names: Mapping[str, ObjectId], *, partial: bool) -> Iterator[tuple[Scope, Section]]:
    places = [(Scope.cluster(), fields["cluster"])] if "cluster" in fields else []
    if "databases" in fields:
        hint = "List databases under it. For all others to have no policy, write unlisted-databases: none."
        slots = fields["databases"].value.mapping("databases", hint, same=database_key)
        places += [(Scope.database(slot.key.text), slot) for slot in slots]
    for scope, slot in places:
        value = slot.value
        if value.kind == "scalar" and value.text == "none":
            if partial:
                raise value.error(
                    f"mode: partial does not allow none for the {scope}.", "List identities, with [] for no usages."
                )
            yield scope, Section(slot, None)
        else:
            rows = tuple(_row(slot) for slot in value.mapping(f"the {scope}", _SCOPE_HINT))
            seen: dict[str, Node] = {}
            for row in rows:
                identity = names.get(row.key.text.casefold()) or as_object_id(row.key.text) or row.key.text
                if seen.setdefault(identity, row.key) is not row.key:
                    raise row.key.twice(seen[identity], f"the {scope}")
            yield scope, Section(slot, rows)


def _row(slot: Slot) -> Row:
    name, value = slot.key.text, slot.value
    if value.kind != "mapping":
        return Row(slot, _usages(slot, f"the list of {name!r}"))
    parts = {part.key.text: part for part in value.mapping(f"the mapping of {name!r}")}
    for text, part in parts.items():
        if text not in {"usages", "properties"}:
            raise part.key.error(
                f"unknown key {text!r} for {name!r}.", "An identity takes usages: and, optionally, properties:."
            )
    if "usages" not in parts:
        raise value.error(f"{name!r} has no usages:.", _USAGES_HINT)
    usages = _usages(parts["usages"], f"the list of {name!r}")
    if "properties" not in parts:
        return Row(slot, usages)
    return Row(slot, usages, _properties(parts["properties"].value, name), parts["properties"])


def _usages(slot: Slot, what: str) -> Slot:
    seen: dict[str, Node] = {}
    for item in slot.value.sequence(what, _USAGES_HINT):
        usage = named_usage(item.text)
        if not usage or "," in usage:
            raise item.error(f"{item.text!r} is not a single usage.", _USAGES_HINT)
        if seen.setdefault(usage, item) is not item:
            raise item.twice(seen[usage], what)
    return slot


def _properties(node: Node, name: str) -> Properties:
    hint = 'Write a JSON object, for example {"Note": "nightly", "Limit": 3}.'
    if node.kind != "mapping" or not node.flow:
        raise node.error(f"the properties of {name!r} are not JSON.", hint)
    try:
        # The service reads the text in braces as JSON, to the last digit; YAML only determines where it ends.
        properties = jsontext.load(node.text)
    except PolicyError as error:
        raise node.error(f"the properties of {name!r} are not JSON: {error.message}", hint) from None
    for property_name in properties:
        if property_name in _NOT_PROPERTIES:
            raise node.error(f"{property_name!r} cannot be a property of {name!r}.", "Remove it.")
    return {property_name: jsontext.dump(value) for property_name, value in properties.items()}
