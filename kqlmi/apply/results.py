"""The result of a plan that was applied."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kqlmi.cluster.evidence import Overwritten
from kqlmi.cluster.outcome_recovery import StepResult
from kqlmi.errors import Ended
from kqlmi.model.entities import Scope
from kqlmi.model.plan.plan import Plan
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy.diff import signed
from kqlmi.model.policy.policy import Policy
from kqlmi.report import Block, Code, Described, Line, Report


@dataclass(frozen=True, slots=True, repr=False)
class Applied(Described):
    """A plan that was applied and verified.

    ``steps`` are the results of a policy plan's steps, and ``entry`` is the ID of the history entry. Both are empty for a
    change in Azure.
    """

    plan: Plan
    steps: tuple[StepResult, ...] = ()
    outcome: Ended = "applied"
    entry: str = ""

    @property
    def repair(self) -> Mapping[Scope, Policy]:
        """The policies that restore the overwritten changes of other writers. Plan them to see the change."""
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

    def report(self) -> Report:
        """Return what was applied, and the other writers' changes that were overwritten."""
        back = f" %kqlmi undo does not revert it. To revert it: {self.plan.back}" if self.plan.back else ""
        summary = self.plan.summary
        if isinstance(self.plan, PolicyPlan):
            summary = summary.replace(" to grant", " granted").replace(" to revoke", " revoked")
        blocks = tuple(block for result in self.steps for block in _meanwhile(result))
        return Report(f"Applied and verified on {self.plan.cluster}", f"{summary}.{back}", blocks)


def _meanwhile(result: StepResult) -> Iterator[Block]:
    if found := result.overwritten:
        effect, who = _effect(found), f" by {found.principal}" if found.principal else ""
        yield Line(f"Overwrote a change{who} in the {found.scope}: {effect}".rstrip())
        yield from [] if effect else [Code(found.command)]
    elif result.unseen is not None:
        yield Line(
            f"kqlmi cannot rule out another write to the policy of the {result.step.scope} in the"
            f" {result.unseen * 1000:.0f} ms before this change: neither the journal nor the list of commands shows this"
            " change."
        )


def _effect(found: Overwritten) -> str:
    return ", ".join([*signed(found.granted, found.revoked), *signed(found.written, found.dropped)])
