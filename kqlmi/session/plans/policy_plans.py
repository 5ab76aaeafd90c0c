"""Plans over the policies of a cluster: made from what somebody wants, and applied."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from kqlmi.apply import Applied, StepResult, apply_plan
from kqlmi.errors import InputError
from kqlmi.model.entities import Scope
from kqlmi.model.plan import edits
from kqlmi.model.plan.plan import Plan, make_plan
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.session import policies
from kqlmi.session.core import Core, must_write, require_own
from kqlmi.session.policies import database_scope, databases, holder, read, readable


def plan(core: Core, desired: Mapping[Scope, Policy | None]) -> Plan:
    """Plan the way from the policies as they are now to ``desired``."""
    current = Snapshot({scope: policies.policy(core, scope) for scope in desired})
    return _plan(core, current, edits.keeping(current, Snapshot(desired)))


def grant(core: Core, identity: str, usages: Iterable[str], scopes: Iterable[str], *, cluster: bool) -> Plan:
    """Plan to grant usages to an identity."""
    current = _named(core, scopes, cluster=cluster, about=identity)
    return _plan(core, current, edits.grant(current, holder(core, identity), tuple(usages)))


def revoke(
    core: Core, identity: str, usages: Iterable[str], scopes: Iterable[str], *, cluster: bool, known: Snapshot | None
) -> Plan:
    """Plan to revoke usages from an identity."""
    current = _named(core, scopes, cluster=cluster, about=identity, known=known)
    return _plan(core, current, edits.revoke(current, holder(core, identity), tuple(usages)))


def move(core: Core, identity: str, by: str) -> Plan:
    """Plan to move every grant of one identity to another."""
    current = read(core, about=(identity, by)).permitted
    old, new = holder(core, identity), holder(core, by)
    if old == new:
        raise InputError(f"{identity!r} and {by!r} are the same identity.", hint="Name the one that replaces it.")
    return _plan(core, current, edits.replace(current, old, new))


def export(core: Core, document: str | bytes) -> str:
    """Write every policy as a policy file, or those of ``document`` into it."""
    from kqlmi import policyfile

    names = databases(core)
    scopes = [Scope.cluster(), *map(Scope.database, names)]
    if document:
        scopes = list(policyfile.read(document).scopes(names))
    found = readable(core, scopes)
    return policyfile.update(document, found) if document else policyfile.export(found, cluster=core.name)


def plan_file(core: Core, document: str | bytes) -> tuple[Plan, tuple[Scope, ...]]:
    """Plan what a policy file wants; return with it the scopes that the file leaves alone."""
    from kqlmi import policyfile

    file, names = policyfile.read(document), databases(core)
    current = readable(core, file.scopes(names))
    desired = file.desired(current, names)
    found = make_plan(current, desired.snapshot, cluster=core.name, exactly=True, names=core.met.identities)
    return found, desired.unmanaged


def undo_plan(core: Core, entry: str) -> Plan:
    """Plan to revert a history entry, by the beginning of its ID, or the last change that stands."""
    found = core.recorder.undo(entry)
    return replace(found, names={**core.met.identities, **found.names})


def apply(
    core: Core,
    plan: Plan,
    *,
    deadline: float,
    record: bool,
    tell: Callable[[str], None],
    progress: Callable[[tuple[StepResult, ...]], None],
) -> Applied:
    """Apply exactly ``plan``, and record it."""
    if not isinstance(plan, Plan):
        raise InputError("That plan is for Azure.", hint="Give it to session.carry_out.")
    must_write(core)
    require_own(core, plan)
    _refuse_followers(core, plan)
    if core.history is None or not record or not plan.steps:
        return apply_plan(
            core.connection, plan, deadline=deadline, tell=tell, progress=progress, retrying=core.retrying
        )
    return core.recorder.apply(plan, deadline=deadline, tell=tell, progress=progress)


def _plan(core: Core, current: Snapshot, desired: Snapshot) -> Plan:
    return make_plan(current, desired, cluster=core.name, names=core.met.identities)


def _named(
    core: Core, patterns: Iterable[str], *, cluster: bool, about: str, known: Snapshot | None = None
) -> Snapshot:
    """Read the policies of the scopes that are named, and what it takes to know the identity."""
    scopes, policies = [Scope.cluster()] if cluster else [], known or Snapshot()
    if known is None:
        databases(core)
    for pattern in patterns:
        found = core.met.matching(pattern)
        scopes += map(Scope.database, found) if found else [database_scope(core, pattern)]
    if not scopes:
        raise InputError("No scope is said.", hint="Say --database NAME (or a glob), or --cluster.")
    missing = [scope for scope in scopes if scope not in policies.policies]
    more = readable(core, missing, about=(about,)) if missing else Snapshot()
    return Snapshot({scope: {**policies.policies, **more.policies}[scope] for scope in scopes})


def _refuse_followers(core: Core, plan: Plan) -> None:
    scopes = [step.scope for step in plan.steps if not step.scope.is_cluster]
    if scopes and not core.met.databases:
        databases(core)
    for scope in scopes:
        if scope in core.met.following:
            raise InputError(
                f"The {scope} follows that of another cluster, and its policy is changed there.",
                hint="Connect to the leader's cluster.",
            )
