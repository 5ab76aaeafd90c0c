"""A plan as text to share: JSON that can be applied later, Markdown for a review, or a script to paste."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from kqlmi import report
from kqlmi.errors import InputError, KqlmiError, printable
from kqlmi.model import jsontext
from kqlmi.model.entities import Scope
from kqlmi.model.plan.builder import make_plan
from kqlmi.model.plan.impact import Impact
from kqlmi.model.plan.plan import Plan
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy.policy import Policy, Snapshot

_FORMAT = 1
# In this order, so that what differs in a step is named before what is derived from all of them.
_PROPERTIES = ("cluster", "steps", "covering", "unchanged", "summary")


@dataclass(frozen=True, slots=True)
class Live:
    """The current facts about a plan, which are not part of it: warnings, and what its revokes would stop.

    ``impact`` is None if the plan removes nothing.
    """

    warnings: tuple[str, ...] = ()
    impact: Impact | None = None

    def beside(self, plan: report.Report) -> report.Report:
        """Return the report of the plan with these facts: what would stop comes first, and is never folded."""
        stops = tuple(report.Line(one, "stops") for one in self.impact.stopping) if self.impact else ()
        blocks = (*([report.Section("What it stops", stops)] if stops else []), *plan.blocks)
        return replace(plan, blocks=blocks, notes=(*plan.notes, *self.notes))

    @property
    def notes(self) -> tuple[str, ...]:
        """Return the warnings and what cannot be determined."""
        return (*self.warnings, *(self.impact.notes if self.impact else ()))

    @property
    def record(self) -> dict[str, list[str]]:
        """Return the texts of the warnings, of what would stop, and of what cannot be determined, as JSON values."""
        stops, unknown = (self.impact.stopping, self.impact.doubts) if self.impact else ((), ())
        return {"warnings": list(self.warnings), "stops": list(stops), "unknown": list(unknown)}


NOTHING = Live()


def to_json(plan: PolicyPlan, live: Live = NOTHING) -> str:
    """Return a plan as a JSON document, which ``from_json`` reads as the same plan.

    Properties: ``kqlmi`` (the format, 1), ``id`` (SHA-256 of ``Plan.content``), ``summary``, ``undoes``,
    ``names`` (display names by object ID), ``live`` (what was read when the plan was saved: ``warnings``, ``stops`` and
    ``unknown``), ``cluster``, ``unchanged``, ``covering`` (the grants of the cluster that make changes redundant) and
    ``steps``. A step has ``scope`` (a database's name, null for the cluster), ``verb``, ``command``, ``before`` and
    ``after`` (policies as arrays of objects, null for none) and ``changes`` (``kind``, ``identity``, ``usage``,
    ``effect``).
    """
    return jsontext.dump(
        {
            "kqlmi": _FORMAT,
            "id": plan.id,
            "summary": plan.summary,
            "undoes": plan.undoes,
            "names": dict(plan.names),
            "live": live.record,
            **plan.content,
        }
    )


def from_json(text: str) -> PolicyPlan:
    """Read a saved plan: rebuild it from the policies of its scopes before and after.

    Its display names and what it undoes are taken from the file unverified.

    Raises:
        InputError: The text is not a plan, has a newer format, or differs from the plan that is rebuilt from its policies.
    """
    try:
        document = jsontext.load(text)
        version = document["kqlmi"]
        if version == _FORMAT:
            plan = _rebuilt(document)
            differs = _difference(document, plan)
    except (AttributeError, KeyError, TypeError, ValueError, KqlmiError):
        raise InputError(
            "The text is not a complete saved plan.", hint="Save it again with kqlmi plan FILE --json."
        ) from None
    if version != _FORMAT:
        raise InputError(
            f"The plan has format {version!r}, but this version of kqlmi reads only format {_FORMAT}.",
            hint="Plan the change again with this version.",
        )
    if differs:
        raise InputError(
            f"The plan was changed after it was saved: {differs} does not match its policies.",
            hint="Plan the change again.",
        )
    return plan


def _rebuilt(document: dict[str, Any]) -> PolicyPlan:
    """Return the plan from the saved policies before to those after."""
    before: dict[Scope, Policy | None] = {}
    after: dict[Scope, Policy | None] = {}
    for item in document["steps"]:
        scope = Scope(item["scope"])
        before.setdefault(scope, Policy.parse(jsontext.dump(item["before"])))
        after[scope] = Policy.parse(jsontext.dump(item["after"]))
    desired = {scope: after[scope] for scope in _order(document["steps"])}
    if document["covering"]:
        cluster = Policy.empty()
        for identity, usage in document["covering"]:
            cluster = cluster.grant(identity, usage, also=(usage,))
        before.setdefault(Scope.cluster(), cluster)
        desired.setdefault(Scope.cluster(), cluster)
    names = {str(identity): str(name) for identity, name in document["names"].items()}
    plan = make_plan(
        Snapshot(before),
        Snapshot(desired),
        cluster=str(document["cluster"]),
        exactly=True,
        undoes=str(document["undoes"]),
        names=names,
    )
    return replace(plan, names=names)


def _order(steps: Iterable[dict[str, Any]]) -> list[Scope]:
    """Return the scopes in the order of planning, which both the steps that merge and the other steps follow."""
    found = [(Scope(item["scope"]), item["verb"] == "alter-merge") for item in steps]
    merges, order = [scope for scope, merges in found if merges], list[Scope]()
    for scope in (scope for scope, merges in found if not merges):
        if scope in merges:
            place = merges.index(scope)
            order, merges = [*order, *merges[:place]], merges[place + 1 :]
        order.append(scope)
    return [*order, *merges]


def _difference(document: dict[str, Any], plan: PolicyPlan) -> str:
    """Return the name of the first property of a saved plan that differs from the rebuilt one; empty if none does."""
    rebuilt = jsontext.load(to_json(plan))
    for key in (*_PROPERTIES, *sorted(map(str, document.keys() ^ rebuilt.keys())), "id"):
        if key == "steps":
            for saved, step, place in zip(document[key], rebuilt[key], plan.steps, strict=False):
                names = dict.fromkeys((*step, *sorted(map(str, saved))))
                if wrong := next((name for name in names if saved.get(name) != step.get(name)), ""):
                    return f"{printable(wrong)} of the {place.scope}"
        if document.get(key) != rebuilt.get(key):
            return printable(key)
    return ""


def to_text(plan: Plan, live: Live = NOTHING) -> str:
    """Return a plan for display with every step, and the current facts about it."""
    return report.to_text(live.beside(plan.full()))


def to_markdown(plan: Plan, live: Live = NOTHING) -> str:
    """Return a plan for a pull request: its summary, what would stop, the changes, and the commands; identical ones as one."""
    return report.to_markdown(live.beside(plan.report()))


def to_kql(plan: PolicyPlan, live: Live = NOTHING) -> str:
    """Return the commands as a script, separated by blank lines, as editors expect."""
    found = (*(live.impact.stopping if live.impact else ()), *live.notes)
    head = [f"// Plan {plan.short} on {printable(plan.cluster)}: {plan.summary}", *(f"// {one}" for one in found)]
    return "\n\n".join(["\n".join(head), *(step.command for step in plan.steps)]) + "\n"


FORMATS: Mapping[str, Callable[[PolicyPlan, Live], str]] = MappingProxyType(
    {"text": to_text, "json": to_json, "markdown": to_markdown, "kql": to_kql}
)


def to_warning(orphans: Iterable[str], source: str = "its response") -> str:
    """Return a warning that identities of a plan are not assigned to the cluster, according to ``source``."""
    return (
        f"Not assigned to the cluster, according to {source}: {', '.join(orphans)}. Their grants cannot be restored until"
        " they are assigned again."
    )


def to_request(plan: PolicyPlan) -> str:
    """Return a message that asks an administrator to apply a plan."""
    changes = "\n".join(f"{line} in the {step.scope}" for step in plan.steps for line in plan.lines(step))
    # Source: the documentation of the policy.
    head = f"Please run this on {printable(plan.cluster)}; it needs AllDatabasesAdmin."
    return "\n\n".join([head, changes, *(step.command for step in plan.steps)])
