"""Plans for the policies of a cluster."""

from collections.abc import Iterable
from dataclasses import replace

from kqlmi.errors import InputError
from kqlmi.model.entities import Scope
from kqlmi.model.plan.builder import make_plan
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy.policy import Snapshot
from kqlmi.session.core import Core
from kqlmi.session.policies import database_scope, databases, readable


def make(core: Core, current: Snapshot, desired: Snapshot) -> PolicyPlan:
    """Return the plan that changes the current policies into the desired ones."""
    return make_plan(current, desired, cluster=core.name, names=core.known.directory.names)


def named(core: Core, patterns: Iterable[str], *, cluster: bool, about: str, known: Snapshot | None = None) -> Snapshot:
    """Return the policies of the databases that match names or globs, and read whatever else identifies ``about``."""
    scopes, have = [Scope.cluster()] if cluster else [], known or Snapshot()
    if known is None:
        databases(core)
    for pattern in patterns:
        found = core.known.matching(pattern)
        scopes += map(Scope.database, found) if found else [database_scope(core, pattern)]
    if not scopes:
        raise InputError("No scope is specified.", hint="Pass --database NAME (or a glob), or --cluster.")
    missing = [scope for scope in scopes if scope not in have.policies]
    more = readable(core, missing, about=(about,)) if missing else Snapshot()
    return Snapshot({scope: {**have.policies, **more.policies}[scope] for scope in scopes})


def export(core: Core, document: str | bytes) -> str:
    """Return every policy as a policy file, or ``document`` with its policies updated."""
    from kqlmi import policyfile

    names = databases(core)
    scopes = [Scope.cluster(), *map(Scope.database, names)]
    if document:
        scopes = list(policyfile.read(document).scopes(names))
    found = readable(core, scopes)
    return policyfile.update(document, found) if document else policyfile.export(found, cluster=core.name)


def plan_file(core: Core, document: str | bytes) -> tuple[PolicyPlan, tuple[Scope, ...]]:
    """Return the plan for the policies in a policy file, and the scopes that the file does not manage."""
    from kqlmi import policyfile

    file, names = policyfile.read(document), databases(core)
    current = readable(core, file.scopes(names), about=file.unresolved)
    desired = file.resolved(core.known.directory).desired(current, names)
    found = make_plan(current, desired.snapshot, cluster=core.name, exactly=True, names=core.known.directory.names)
    return found, desired.unmanaged


def undo_plan(core: Core, entry: str) -> PolicyPlan:
    """Return the plan that reverts a history entry, given the start of its ID, or the last change still in effect."""
    found = core.recorder.undo(entry)
    return replace(found, names={**core.known.directory.names, **found.names})
