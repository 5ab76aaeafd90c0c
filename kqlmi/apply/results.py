"""What became of a plan that went through."""

from collections.abc import Mapping
from dataclasses import dataclass

from kqlmi.cluster.evidence import Overwritten
from kqlmi.cluster.outcome_recovery import StepResult
from kqlmi.errors import Ended
from kqlmi.model.entities import Scope
from kqlmi.model.plan.plan import Plan
from kqlmi.model.policy.diff import signed
from kqlmi.model.policy.policy import Policy


@dataclass(frozen=True, slots=True)
class Applied:
    """A plan that went through: what it wants was found there afterwards.

    ``steps`` tells what became of each step of a plan over policies, and ``entry`` is the ID of the history entry: both
    are empty for a change in Azure.
    """

    plan: Plan
    steps: tuple[StepResult, ...] = ()
    outcome: Ended = "applied"
    entry: str = ""

    @property
    def repair(self) -> Mapping[Scope, Policy]:
        """Give the policies that would bring back what the plan overwrote of others; plan them to see the change."""
        wanted: dict[Scope, Policy] = {}
        for result in self.steps:
            if result.overwritten and _effect(result.overwritten):
                policy = result.policy or Policy.empty()
                for identity, usage in sorted(result.overwritten.granted):
                    policy = policy.grant(identity, usage, also=(usage,))
                for identity, usage in sorted(result.overwritten.revoked & policy.grants):
                    policy = policy.revoke(identity, usage)
                wanted[result.step.scope] = policy.having(result.overwritten.written)
        return wanted

    def __str__(self) -> str:
        back = f" %kqlmi undo does not take it back, this does: {self.plan.back}" if self.plan.back else ""
        lines = [f"Applied and verified on {self.plan.cluster}: {self.plan.summary}.{back}"]
        for result in self.steps:
            if result.overwritten:
                lines.append(_overwrote(result.overwritten))
            elif result.unseen is not None:
                lines.append(
                    f"Another write to the policy of the {result.step.scope} in the {result.unseen * 1000:.0f} ms before"
                    " the change could not be ruled out: neither the journal nor the list of commands shows it."
                )
        return "\n".join(lines)


def _overwrote(found: Overwritten) -> str:
    who = f" of {found.principal}" if found.principal else ""
    return f"Overwrote a change{who} in the {found.scope}: {_effect(found) or found.command}"


def _effect(found: Overwritten) -> str:
    return ", ".join([*signed(found.granted, found.revoked), *signed(found.written, found.dropped)])
