"""The gates of a flow as a session observes them, with commands that only read."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from kqlmi.errors import AnswerError, ForbiddenError, KqlmiError, ResourceManagerError
from kqlmi.model import jsontext
from kqlmi.model.entities import Identity, Scope
from kqlmi.model.explain.gates import Gate, gates
from kqlmi.model.explain.observations import Observations, Rule, Unread
from kqlmi.model.explain.roles import HeldRole, suffices
from kqlmi.model.kql import quoting
from kqlmi.model.policy.policy import Snapshot
from kqlmi.model.workflows import Workflow
from kqlmi.session.core import Core, resource_hint
from kqlmi.session.resource_manager import Azure
from kqlmi.session.whoami import details, held

if TYPE_CHECKING:
    from kqlmi.arm.resource import ClusterResource

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Subject:
    """The question whether a flow may use an identity in a database.

    ``targets`` are the resources that the flow reaches, the target of its callout first; ``entity`` is the table whose roles
    suffice for the caller.
    """

    workflow: Workflow
    identity: Identity
    scope: Scope
    targets: tuple[str, ...] = ()
    entity: str = ""

    def gates(self, snapshot: Snapshot, observed: Observations, on: str) -> tuple[Gate, ...]:
        """Return the gates with their states; ``snapshot`` contains the policies of the cluster and the database."""
        about = (self.workflow, self.identity, self.scope, snapshot)
        return tuple(gates(*about, observed=observed, targets=self.targets, entity=self.entity, on=on))


def observe(core: Core, azure: Azure, subject: Subject) -> Observations:
    """Return what the cluster and Azure Resource Manager show about the gates of a flow; nothing is changed.

    What cannot be read contains the reason instead. ``azure`` was read with ``ask``.
    """
    from kqlmi.arm import roles as azure_roles

    row, listed, object_id = subject.workflow, azure.identities, subject.identity.principal
    unlisted = Unread(resource_hint(core) or f"it was not read, because {azure.why}")
    principal, roles = _caller(core, subject)
    assigned = None if listed is None else [one.object_id for one in listed]
    is_in_azure = not row.caller or (assigned is not None and subject.identity.object_id not in assigned)
    return Observations(
        unlisted if assigned is None else assigned,
        _read(lambda: _plugins(core, subject)) if row.plugin else Unread(""),
        unlisted if assigned is None else azure.outbound,
        _callouts(core, subject),
        {one: _in_azure(core, partial(azure_roles.on_target, object_id, one)) for one in subject.targets},
        roles,
        _read(lambda: _identity(core, subject)) if row.reads_as_identity else Unread(""),
        _in_azure(core, azure_roles.may_change) if is_in_azure else Unread(""),
        principal,
    )


def _read(read: Callable[[], Item | Unread]) -> Item | Unread:
    """Return what is read, or why it cannot be read."""
    try:
        return read()
    except KqlmiError as error:
        is_brief = isinstance(error, ForbiddenError | ResourceManagerError) and error.hint
        return Unread(f"it was not read, because {(error.hint if is_brief else error.message).rstrip('.')}")


def _records(core: Core, text: str, subject: Subject) -> Iterable[Mapping[str, Any]]:
    return core.connection.execute(text, subject.scope.name).records()


def _plugins(core: Core, subject: Subject) -> dict[str, bool]:
    return {str(row.get("PluginName")): bool(row.get("IsEnabled")) for row in _records(core, ".show plugins", subject)}


def _callouts(core: Core, subject: Subject) -> tuple[Rule, ...] | Unread:
    """Return the rules of the flow's type that match its target."""
    kind, target = subject.workflow.callout, next(iter(subject.targets), "")
    if not kind or not target:
        return Unread("")
    return _read(lambda: _matching(core, subject, kind, target))


def _matching(core: Core, subject: Subject, kind: str, target: str) -> tuple[Rule, ...]:
    found: list[Rule] = []
    for row in _records(core, ".show cluster policy callout", subject):
        rules = jsontext.read(row.get("Policy"), broken="")
        rules = [] if rules is None else rules
        if not isinstance(rules, list) or not all(isinstance(one, dict) for one in rules):
            raise AnswerError("The callout policy is not an array of rules.")
        found += [
            Rule(str(one.get("CalloutUriRegex")), allows=one.get("CanCall") is True)
            for one in rules
            if str(one.get("CalloutType")).casefold() == kind
        ]
    if not found:
        return ()
    # The cluster's own engine decides which expressions match: Python's has another syntax, and may not terminate.
    tests = (
        f"r{place} = {quoting.literal(target)} matches regex {quoting.literal(one.pattern)}"
        for place, one in enumerate(found)
    )
    answer = next(iter(_records(core, f"print {', '.join(tests)}", subject)), {})
    matches = [answer.get(f"r{place}") for place in range(len(found))]
    if not all(isinstance(one, bool) for one in matches):
        raise AnswerError("The cluster did not answer which rules match.")
    return tuple(one for one, is_match in zip(found, matches, strict=True) if is_match)


def _caller(core: Core, subject: Subject) -> tuple[str, tuple[HeldRole, ...] | Unread]:
    """Return the fully qualified name of the caller, and its roles."""
    principal, entity = "", subject.entity
    with suppress(KqlmiError):
        answer = core.connection.execute("print details = current_principal_details()", subject.scope.name)
        principal = str(details(answer).get("FQN") or "")
    own: tuple[HeldRole, ...] | Unread = _read(lambda: held(_records(core, ".show principal roles", subject)))
    if entity and isinstance(own, tuple):
        kind = subject.workflow.caller.rpartition(" ")[0]
        with suppress(KqlmiError):
            own += held(_records(core, f".show {kind} {quoting.name(entity)} principal roles", subject))
    return principal, own


def _identity(core: Core, subject: Subject) -> tuple[HeldRole, ...] | Unread:
    """Return the roles of the identity in the database, which may include those on the cluster; groups are not expanded."""
    who, name = subject.identity, str(subject.scope.name)
    ids = {one.lower() for one in (who.principal, who.client_id) if one}
    if not ids:
        return Unread("its object ID is not known")
    try:
        rows = _records(core, f".show database {quoting.name(name)} principals", subject)
    except ForbiddenError:
        # It lists only the roles that the caller may see, so that a missing one proves nothing.
        principal = f"aadapp={who.principal or who.client_id}"
        seen = held(_records(core, f".show principal {quoting.literal(principal)} roles", subject))
        if suffices(seen, "database viewers", name)[0]:
            return seen
        raise
    own = (
        {**row, "Scope": f"Database {name}"}
        for row in rows
        if ids & {str(row.get("PrincipalObjectId")).lower(), *_ids_in(str(row.get("PrincipalFQN")))}
    )
    return held(own)


def _ids_in(fqn: str) -> tuple[str, ...]:
    """Return the ID in ``aadapp=ID;TENANT``, which is an object ID or a client ID."""
    kind, _, rest = fqn.lower().partition("=")
    return (rest.partition(";")[0],) if kind == "aadapp" else ()


def _in_azure(core: Core, read: Callable[["ClusterResource"], Item | Unread]) -> Item | Unread:
    resource = core.resource
    return _read(lambda: read(resource)) if resource else Unread(resource_hint(core))
