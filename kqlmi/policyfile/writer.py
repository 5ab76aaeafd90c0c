"""The writer of policy files: new ones, and existing ones updated in place."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from kqlmi.errors import printable
from kqlmi.model import jsontext
from kqlmi.model.entities import SYSTEM, Identity, ObjectId, Scope, known_usage
from kqlmi.model.policy.directory import Directory
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.model.vocabulary import named_usage
from kqlmi.policyfile import edits
from kqlmi.policyfile.document import (
    PolicyFile,
    Properties,
    Row,
    as_object_id,
    properties_of,
    usages_of,
)
from kqlmi.policyfile.edits import Cut, Value
from kqlmi.policyfile.nodes import PolicyFileError, decode
from kqlmi.policyfile.reader import FORMAT, read

Values = dict[ObjectId, Value]
"""The values to write for the identities in a scope."""


def export(snapshot: Snapshot, *, cluster: str = "") -> str:
    """Return a new policy file, mode ``complete``, of every scope of ``snapshot``. Its first line names ``cluster``."""
    policies = snapshot.policies
    names = _labels(snapshot.identities.values(), {})
    document: dict[str, Value] = {}
    if names:
        document["identities"] = {name: identity for identity, name in names.items()}
    if unknown := _unknown(usage for policy in policies.values() if policy for _, usage in sorted(policy.grants)):
        document["unknown-usages"] = unknown
    written = {scope: _named(_values(policy), names) if policy else "none" for scope, policy in policies.items()}
    written |= {scope: {} for scope, policy in policies.items() if policy == Policy.empty()}
    if Scope.cluster() in written:
        document["cluster"] = written[Scope.cluster()]
    document["databases"] = {scope.name: value for scope, value in written.items() if scope.name is not None}
    lines = [
        f"# What each managed identity may be used for{f' on {printable(cluster)}' if cluster else ''}.",
        f"kqlmi: {FORMAT}",
        "mode: complete  # each scope below has exactly this policy; databases that are not listed are left alone",
        *edits.block(document),
    ]
    text = "\n".join([*lines, ""])
    read(text)  # Raise if the text could not be read back: YAML has limits, such as 1,024 characters for a key.
    return text


def update(document: str | bytes, snapshot: Snapshot) -> str:
    """Return a policy file updated from ``snapshot``, in the scopes and for the identities that the file governs.

    Everything else is unchanged, to the byte: comments, order, formatting, what the file does not govern and what
    ``snapshot`` does not contain. A file that needs no update is returned unchanged.

    Raises:
        PolicyFileError: The file is invalid, or its layout cannot be updated in place.
    """
    text = decode(document)
    given = read(text)
    file = given.resolved(Directory.of(snapshot))
    arrivals = {scope: _arrivals(file, scope, snapshot) for scope in _governed(file, snapshot)}
    names = {
        file.names[key.text.casefold()]: key.text
        for _, key, _ in (file.fields["identities"].value.mapping("identities") if "identities" in file.fields else ())
    }
    fresh = {
        identity: name
        for identity, name in _labels(snapshot.identities.values(), given.names).items()
        if identity not in names and any(identity in values for values in arrivals.values())
    }
    written = {scope: _named(values, names | fresh) for scope, values in arrivals.items()}
    root, mode = file.fields["mode"].parent, file.fields["mode"].value
    cuts: list[Cut] = []
    for scope in arrivals:
        if scope in file.sections:
            cuts += _section(text, file, scope, snapshot, written[scope])
    unlisted = {str(scope.name): value for scope, value in written.items() if scope not in file.sections}
    cuts += _extended(text, file, "databases", unlisted, after=root.items[-1].end)
    cuts += _extended(text, file, "identities", {name: identity for identity, name in fresh.items()}, after=mode.end)
    cuts += _extended(text, file, "unknown-usages", _new_usages(file, snapshot, arrivals), after=mode.end)
    result = edits.apply(text, cuts)
    if not _holds(result, snapshot):
        raise PolicyFileError(
            "the layout of the file cannot be updated in place.",
            hint="Export to a new file, or write lists as [A, B] and mappings as key: value.",
        )
    return result


def _holds(text: str, snapshot: Snapshot) -> bool:
    """Check whether a file specifies exactly the grants of the cluster."""
    try:
        file = read(text).resolved(Directory.of(snapshot))
        pairs = [(file.wanted(scope, snapshot), snapshot.policies[scope]) for scope in _governed(file, snapshot)]
    except PolicyFileError:
        return False
    return all((one and one.grants) == (other and other.grants) for one, other in pairs)


def _governed(file: PolicyFile, snapshot: Snapshot) -> list[Scope]:
    """Return the scopes that were read and that the file lists, or whose policy it removes."""
    listed = [scope for scope in file.sections if scope in snapshot.policies]
    unlisted = [
        scope
        for scope, policy in snapshot.policies.items()
        if policy is not None and scope not in file.sections and not scope.is_cluster
    ]
    return listed + (unlisted if file.clears_unlisted else [])


def _arrivals(file: PolicyFile, scope: Scope, snapshot: Snapshot) -> Values:
    """Return the identities of a scope's policy that a ``complete`` file does not list there."""
    policy = snapshot.policies[scope]
    if policy is None or file.mode == "partial":
        return {}
    section, values = file.sections.get(scope), _values(policy)
    if section is None or section.rows is None:
        return values
    rows, usages = file.holders(scope, snapshot), usages_of(policy)
    return {identity: value for identity, value in values.items() if identity not in rows and usages[identity]}


def _section(text: str, file: PolicyFile, scope: Scope, snapshot: Snapshot, new: Mapping[str, Value]) -> Iterator[Cut]:
    section, policy, complete = file.sections[scope], snapshot.policies[scope], file.mode == "complete"
    if policy is None and complete:
        yield from edits.replaced(text, section.slot, "none") if section.rows is not None else ()
        return
    if section.rows is None:
        yield from edits.replaced(text, section.slot, new)
        return
    usages, properties = usages_of(policy or Policy.empty()), properties_of(policy or Policy.empty())
    gone = []
    for place, (identity, row) in enumerate(file.holders(scope, snapshot).items()):
        if complete and row.usages.value.items and not usages.get(identity):
            gone.append(place)
        else:
            yield from _row(text, row, usages.get(identity, ()), properties.get(identity))
    if gone or new:
        yield from edits.changed(text, section.slot, gone, new)


def _row(text: str, row: Row, wanted: Sequence[str], properties: Properties | None) -> Iterator[Cut]:
    present = [named_usage(item.text) for item in row.usages.value.items]
    gone = [place for place, usage in enumerate(present) if usage not in wanted]
    new = [usage for usage in wanted if usage not in present]
    if gone or new:
        yield from edits.changed(text, row.usages, gone, new)
    if row.properties_slot and properties is not None and properties != row.properties:
        yield from edits.replaced(text, row.properties_slot, _json(properties))


def _extended(
    text: str, file: PolicyFile, key: str, new: Mapping[str, Value] | Sequence[str], *, after: int
) -> Iterator[Cut]:
    """Yield the cuts that add items to a top-level collection, or create it after ``after``."""
    if new and key in file.fields:
        yield from edits.changed(text, file.fields[key], (), new)
    elif new:
        yield from edits.added(text, file.fields["mode"].parent, {key: new}, after=after)


def _new_usages(file: PolicyFile, snapshot: Snapshot, arrivals: Mapping[Scope, Values]) -> list[str]:
    """Return the unknown usages that are added to the file and are not mentioned in it yet."""
    rows = (row for section in file.sections.values() for row in section.rows or ())
    mentioned = {named_usage(item.text) for row in rows for item in row.usages.value.items} | file.unknown_usages
    coming = (
        usage
        for scope, values in arrivals.items()
        for listed in ({*values, *(file.holders(scope, snapshot) if scope in file.sections else ())},)
        for identity, usage in sorted(snapshot.grants(scope))
        if identity in listed
    )
    return [usage for usage in _unknown(coming) if usage not in mentioned]


def _unknown(usages: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(usage for usage in usages if not known_usage(usage)))


def _values(policy: Policy) -> Values:
    properties = properties_of(policy)
    return {
        identity: {"usages": usages, "properties": _json(properties[identity])} if properties[identity] else usages
        for identity, usages in usages_of(policy).items()
    }


def _json(properties: Properties) -> jsontext.Raw:
    return jsontext.Raw(jsontext.dump({name: jsontext.Raw(text) for name, text in properties.items()}))


def _named(values: Values, names: Mapping[ObjectId, str]) -> dict[str, Value]:
    return {names.get(identity, identity): value for identity, value in values.items()}


def _labels(identities: Iterable[Identity], taken: Mapping[str, ObjectId]) -> dict[ObjectId, str]:
    """Return a unique name for each identity with a display name. A display name shared by several gets a suffix."""
    known = [one for one in identities if one.display_name and one.object_id != SYSTEM]
    shown, used = Counter(one.display_name.casefold() for one in known), set(taken)
    labels: dict[ObjectId, str] = {}
    for one in known:
        alone = shown[one.display_name.casefold()] == 1
        name = one.display_name if alone else f"{one.display_name}-{one.object_id[:8]}"
        key = name.casefold()
        # Skip names that refer to another identity, in this file or on the cluster, or look like an object ID.
        if key not in used and shown[key] == int(alone) and not as_object_id(name):
            labels[one.object_id] = name
            used.add(key)
    return labels
