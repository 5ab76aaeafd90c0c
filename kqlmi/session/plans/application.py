"""The application of a plan in a session, by the kind of the plan."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch

from kqlmi.apply import DEADLINE, Applied, StepResult, apply_plan
from kqlmi.errors import InputError
from kqlmi.model.azure.assignment import AssignmentPlan
from kqlmi.model.azure.connectionplan import ConnectionPlan
from kqlmi.model.plan.plan import Plan
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.session.core import Core, know, must_write, require_own
from kqlmi.session.policies import databases
from kqlmi.session.resource_manager import resource_of


@dataclass(frozen=True, slots=True)
class Terms:
    """The options for applying a plan. A ``deadline`` (in seconds) of None is the default for the kind of the plan."""

    deadline: float | None
    record: bool
    tell: Callable[[str], None]
    progress: Callable[[tuple[StepResult, ...]], None]


def apply(core: Core, plan: Plan, terms: Terms, *, confirm: str) -> Applied:
    """Apply exactly ``plan``, and verify the result."""
    must_write(core)
    require_own(core, plan)
    if plan.confirm and confirm.casefold() != plan.confirm.casefold():
        raise InputError(
            f"Plan {plan.short} cannot be undone, so it must be confirmed with the name of the cluster.",
            hint="Pass --confirm NAME, the last part of the cluster's resource ID.",
        )
    return _apply(plan, core, terms)


@singledispatch
def _apply(plan: Plan, core: Core, terms: Terms) -> Applied:
    raise NotImplementedError(f"{type(plan).__name__} on {core.name}, {terms}")


@_apply.register
def _policies(plan: PolicyPlan, core: Core, terms: Terms) -> Applied:
    _refuse_followers(core, plan)
    return apply_plan(
        core.connection,
        plan,
        deadline=DEADLINE if terms.deadline is None else terms.deadline,
        tell=terms.tell,
        progress=terms.progress,
        retrying=core.retrying,
        recorder=core.recorder if core.history and terms.record and plan.steps else None,
    )


def _refuse_followers(core: Core, plan: PolicyPlan) -> None:
    scopes = [step.scope for step in plan.steps if not step.scope.is_cluster]
    if scopes and not core.known.databases:
        databases(core)
    for scope in scopes:
        if scope in core.known.following:
            raise InputError(
                f"The {scope} is a follower, so its policy can only be changed on the leader cluster.",
                hint="Connect to the leader cluster.",
            )


@_apply.register
def _assignment(plan: AssignmentPlan, core: Core, terms: Terms) -> Applied:
    from kqlmi.arm import assignments

    if plan.steps:
        resource = resource_of(core)
        know(core, core.known.directory.unsure_of_assigned())
        assignments.apply(resource, plan, deadline=terms.deadline, tell=terms.tell)
    return Applied(plan)


@_apply.register
def _data_connection(plan: ConnectionPlan, core: Core, terms: Terms) -> Applied:
    from kqlmi.arm import dataconnections

    dataconnections.apply(resource_of(core), plan, deadline=terms.deadline, tell=terms.tell)
    return Applied(plan)
