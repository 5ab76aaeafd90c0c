"""The reader of saved plans, which verifies their statements against the cluster."""

from contextlib import suppress
from dataclasses import replace

from kqlmi.errors import InputError, KqlmiError, printable
from kqlmi.model.entities import Scope
from kqlmi.model.plan import planfile
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.session import policies, resource_manager
from kqlmi.session.core import Core, require_own
from kqlmi.session.plans.policy_plans import undo_plan
from kqlmi.session.policies import read


def saved_plan(core: Core, text: str) -> PolicyPlan:
    """Read a saved plan, with the current names of its identities; see ``Session.saved_plan``."""
    plan = planfile.from_json(text)
    require_own(core, plan)
    changed = {change.identity for change in plan.changes}
    names = _names(core) if changed else {}
    for identity, name in plan.names.items():
        if identity in changed and name != names.get(identity, name):
            raise _contradicted(identity, name, f"its name is {names[identity]!r}")
        others = [one for one, known in names.items() if known == name]
        if identity in changed and others and identity not in others:
            raise _contradicted(identity, name, f"that is the name of {', '.join(others)}")
    _refuse_uncovered(core, plan)
    policies = (policy for step in plan.steps for policy in (step.before, step.after) if policy)
    for identity in sorted({one for policy in policies for one in policy.earlier} - core.known.directory.earlier):
        raise _contradicted(identity, "an earlier system identity", "it is not known as one")
    undoes = ""
    with suppress(KqlmiError):
        undoes = plan.undoes if plan.undoes and undo_plan(core, plan.undoes).id == plan.id else ""
    return replace(plan, undoes=undoes, names={one: name for one, name in names.items() if one in changed})


def _names(core: Core) -> dict[str, str]:
    """Return the display names in Azure Resource Manager and the policies, by identity."""
    if core.resource:
        resource_manager.ask(core)
    read(core)
    return {identity: name for identity, name in core.known.directory.names.items() if name}


def _contradicted(identity: str, name: str, why: str) -> InputError:
    return InputError(
        f"The plan calls {printable(identity)} {name!r}, but on the cluster {printable(why)}.",
        hint="Plan the change again.",
    )


def _refuse_uncovered(core: Core, plan: PolicyPlan) -> None:
    """Raise InputError if a plan calls a change redundant because of a grant that the cluster's policy no longer contains."""
    if not plan.covering:
        return
    policy = policies.policy(core, Scope.cluster())
    gone = sorted(set(plan.covering) - (policy.grants if policy else frozenset()))
    if gone:
        raise InputError(
            f"The plan calls changes redundant, but the policy of the cluster no longer grants {gone[0][1]} to"
            f" {gone[0][0]}.",
            hint="Plan the change again.",
        )
