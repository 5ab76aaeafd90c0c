"""What became of a plan, step by step."""

from collections.abc import Mapping
from dataclasses import dataclass

from kqlmi.cluster.evidence import Overwritten
from kqlmi.errors import Ended, printable
from kqlmi.model.entities import Scope
from kqlmi.model.plan.plan import Plan
from kqlmi.model.plan.policy_plan import Step
from kqlmi.model.policy.policy import Grant, Policy, Property, state_of


@dataclass(frozen=True, slots=True)
class StepResult:
    """What became of one step.

    ``policy`` is what the scope held after it, where that is known. ``overwritten`` is another writer's change that the
    step took back. ``unseen`` is the time in seconds in which such a write could not be ruled out; None where the
    cluster's journal rules it out, or where the command overwrites nothing.
    """

    step: Step
    outcome: Ended
    policy: Policy | None = None
    client_request_id: str = ""
    overwritten: Overwritten | None = None
    unseen: float | None = None


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
    lines = [changes(found.granted, found.revoked), *_properties("+", found.written), *_properties("-", found.dropped)]
    return ", ".join(filter(None, lines))


def difference(expected: Policy | None, found: Policy | None) -> str:
    """Return on one line what a policy holds more and less than another: grants, unknown properties and identities."""
    (grants, properties, identities), (were, had, holders) = state_of(found), state_of(expected)
    others = [*_properties("+", properties - had), *_properties("-", had - properties)]
    # An identity that comes or goes without a grant.
    named = {who for who, _ in grants ^ were} | {who for who, _, _ in properties ^ had}
    changed = sorted((identities ^ holders) - named)
    others += [f"{'+' if who in identities else '-'} {who} without a usage" for who in changed]
    return ", ".join(filter(None, [changes(grants - were, were - grants), *others]))


def _properties(sign: str, properties: frozenset[Property]) -> list[str]:
    return [f"{sign} {identity} property {printable(name)}" for identity, name, _ in sorted(properties)]


def changes(granted: frozenset[Grant], revoked: frozenset[Grant]) -> str:
    """Give grants and revokes on one line."""
    parts = [f"+ {identity} {usage}" for identity, usage in sorted(granted)]
    parts += [f"- {identity} {usage}" for identity, usage in sorted(revoked)]
    return ", ".join(parts)
