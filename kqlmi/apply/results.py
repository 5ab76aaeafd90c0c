"""What became of a plan, step by step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from kqlmi.cluster.evidence import Overwritten
from kqlmi.model.entities import Scope
from kqlmi.model.plan import Plan, Step
from kqlmi.model.policy import Grant, Policy, grants_of

Outcome = Literal["applied", "partly applied", "not applied", "unknown"]


@dataclass(frozen=True, slots=True)
class StepResult:
    """What became of one step.

    ``policy`` is what the scope held after it, where that is known. ``overwritten`` is another writer's change that the
    step took back. ``unseen`` is the time in seconds in which such a write could not be ruled out; None where the
    cluster's journal rules it out, or where the command overwrites nothing.
    """

    step: Step
    outcome: Outcome
    policy: Policy | None = None
    client_request_id: str = ""
    overwritten: Overwritten | None = None
    unseen: float | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """A plan that went through: every step was carried out, and its answer is what the plan expected.

    ``entry`` is the ID of the history entry, empty where none was made.
    """

    plan: Plan
    steps: tuple[StepResult, ...]
    outcome: Outcome = "applied"
    entry: str = ""

    @property
    def repair(self) -> Mapping[Scope, Policy]:
        """Give the policies that would bring back what the plan overwrote of others; plan them to see the change."""
        wanted: dict[Scope, Policy] = {}
        for result in self.steps:
            if result.overwritten and (result.overwritten.granted or result.overwritten.revoked):
                policy = result.policy or Policy.empty()
                for identity, usage in sorted(result.overwritten.granted):
                    policy = policy.grant(identity, usage, also=(usage,))
                for identity, usage in sorted(result.overwritten.revoked & policy.grants):
                    policy = policy.revoke(identity, usage)
                wanted[result.step.scope] = policy
        return wanted

    def __str__(self) -> str:
        """Give the outcome, and on a line each what was overwritten or could not be ruled out."""
        lines = [f"Applied and verified on {self.plan.cluster}: {self.plan.summary}."]
        for result in self.steps:
            if result.overwritten:
                lines.append(_told(result.overwritten))
            elif result.unseen is not None:
                lines.append(
                    f"Another write to the policy of the {result.step.scope} in the {result.unseen * 1000:.0f} ms before"
                    " the change could not be ruled out: neither the journal nor the list of commands shows it."
                )
        return "\n".join(lines)


def _told(found: Overwritten) -> str:
    who = f" of {found.principal}" if found.principal else ""
    told = changes(found.granted, found.revoked)
    return f"Overwrote a change{who} in the {found.scope}: {told or found.command}"


def difference(expected: Policy | None, found: Policy | None) -> str:
    """Give on one line what a policy grants more and less than another."""
    return changes(grants_of(found) - grants_of(expected), grants_of(expected) - grants_of(found))


def changes(granted: frozenset[Grant], revoked: frozenset[Grant]) -> str:
    """Give grants and revokes on one line."""
    parts = [f"+ {identity} {usage}" for identity, usage in sorted(granted)]
    parts += [f"- {identity} {usage}" for identity, usage in sorted(revoked)]
    return ", ".join(parts)
