"""Plans over the policies of a cluster: made from what somebody wants, and applied."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from kqlmi.apply import Applied, StepResult, apply_plan
from kqlmi.errors import InputError
from kqlmi.model.entities import Scope
from kqlmi.model.plan.plan import Plan, make_plan
from kqlmi.model.policy.policy import Snapshot
from kqlmi.session.core import Core, must_write, require_own
from kqlmi.session.policies import database_scope, databases, readable


def make(core: Core, current: Snapshot, desired: Snapshot) -> Plan:
    """Return the plan that leads from policies that were read to others."""
    return make_plan(current, desired, cluster=core.name, names=core.known.identities)


def named(core: Core, patterns: Iterable[str], *, cluster: bool, about: str, known: Snapshot | None = None) -> Snapshot:
    """Read the policies of the databases that names or globs name, and what it takes to know the identity."""
    scopes, have = [Scope.cluster()] if cluster else [], known or Snapshot()
    if known is None:
        databases(core)
    for pattern in patterns:
        found = core.known.matching(pattern)
        scopes += map(Scope.database, found) if found else [database_scope(core, pattern)]
    if not scopes:
        raise InputError("No scope is said.", hint="Say --database NAME (or a glob), or --cluster.")
    missing = [scope for scope in scopes if scope not in have.policies]
    more = readable(core, missing, about=(about,)) if missing else Snapshot()
    return Snapshot({scope: {**have.policies, **more.policies}[scope] for scope in scopes})


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
    found = make_plan(current, desired.snapshot, cluster=core.name, exactly=True, names=core.known.identities)
    return found, desired.unmanaged


def undo_plan(core: Core, entry: str) -> Plan:
    """Plan to revert a history entry, by the beginning of its ID, or the last change that stands."""
    found = core.recorder.undo(entry)
    return replace(found, names={**core.known.identities, **found.names})


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


def _refuse_followers(core: Core, plan: Plan) -> None:
    scopes = [step.scope for step in plan.steps if not step.scope.is_cluster]
    if scopes and not core.known.databases:
        databases(core)
    for scope in scopes:
        if scope in core.known.following:
            raise InputError(
                f"The {scope} follows that of another cluster, and its policy is changed there.",
                hint="Connect to the leader's cluster.",
            )
