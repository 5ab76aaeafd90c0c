"""A plan as text for others: JSON that can be applied later, Markdown for a review, a script to paste."""

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, cast

from kqlmi.errors import InputError, KqlmiError, printable
from kqlmi.model import jsontext
from kqlmi.model.diff import Change
from kqlmi.model.entities import Scope
from kqlmi.model.plan import Plan, Step
from kqlmi.model.policy import Policy

_FORMAT = 1


def to_json(plan: Plan) -> str:
    """Give a plan as a JSON document that ``from_json`` reads back as the same plan.

    Properties: ``kqlmi`` (the format, 1), ``id``, ``cluster``, ``summary``, ``undoes``, ``names`` (display names by object ID), ``unchanged`` and
    ``steps``.
    A step has ``scope`` (a database's name, null for the cluster), ``verb``, ``command``, ``before`` and ``after``
    (policies as arrays of objects, null for none) and ``changes`` (``kind``, ``identity``, ``usage``, ``effect``).
    """
    return jsontext.dump(
        {
            "kqlmi": _FORMAT,
            "id": plan.id,
            "cluster": plan.cluster,
            "summary": plan.summary,
            "undoes": plan.undoes,
            "names": dict(plan.names),
            "unchanged": plan.unchanged,
            "steps": [_step(step) for step in plan.steps],
        }
    )


def _step(step: Step) -> dict[str, Any]:
    changes = [
        {"kind": change.kind, "identity": change.identity, "usage": change.usage, "effect": change.effect}
        for change in step.changes
    ]
    return {
        "scope": step.scope.name,
        "verb": step.verb,
        "command": step.command,
        "before": jsontext.Raw(step.before.to_record() if step.before else "null"),
        "after": jsontext.Raw(step.after.to_record() if step.after else "null"),
        "changes": changes,
    }


def from_json(text: str) -> Plan:
    """Read a saved plan.

    Raises:
        InputError: It is not a plan, of a newer format, or it was changed after it was saved.
    """
    try:
        document = jsontext.load(text)
        version = document["kqlmi"]
        if version == _FORMAT:
            steps = tuple(_read_step(item) for item in document["steps"])
            names = {str(identity): str(name) for identity, name in document["names"].items()}
            plan = Plan(str(document["cluster"]), steps, int(document["unchanged"]), str(document["undoes"]), names)
            saved = document["id"]
    except (AttributeError, KeyError, TypeError, ValueError, KqlmiError):
        raise InputError("That is not a whole saved plan.", hint="Save it again with kqlmi plan FILE --json.") from None
    if version != _FORMAT:
        raise InputError(
            f"The plan has format {version!r}, and this kqlmi reads {_FORMAT}.", hint="Make the plan again."
        )
    if plan.id != saved:
        raise InputError(f"Plan {saved!r} was changed after it was saved.", hint="Make the plan again.")
    return plan


def _read_step(item: dict[str, Any]) -> Step:
    scope = Scope(item["scope"])
    changes = tuple(
        Change(change["kind"], scope, str(change["identity"]), str(change["usage"]), change["effect"])
        for change in item["changes"]
    )
    before, after = (Policy.parse(jsontext.dump(item[name])) for name in ("before", "after"))
    return Step(scope, cast("Any", item["verb"]), str(item["command"]), before, after, changes)


def to_markdown(plan: Plan) -> str:
    """Give a plan for a pull request: summary, changes, and the commands in fences that their text cannot close."""
    lines = [f"### Plan {plan.id} on {_escaped(plan.cluster)}", "", plan.summary]
    for step in plan.steps:
        lines += ["", f"**{_escaped(str(step.scope))}**", ""]
        lines += [f"- `{plan.describe(change).replace('`', chr(39))}`" for change in step.changes]
        fence = "`" * (max(3, _longest_run(step.command)) + 1)
        lines += ["", f"{fence}kql", step.command, fence]
    return "\n".join(lines) + "\n"


def to_kql(plan: Plan) -> str:
    """Give the commands as a script, apart by blank lines, as editors want it."""
    head = f"// Plan {plan.id} on {printable(plan.cluster)}: {plan.summary}"
    return "\n\n".join([head, *(step.command for step in plan.steps)]) + "\n"


FORMATS: Mapping[str, Callable[[Plan], str]] = MappingProxyType(
    {"json": to_json, "markdown": to_markdown, "kql": to_kql}
)


def to_warning(orphans: Iterable[str], by: str = "its answer") -> str:
    """Say of identities that are not assigned to the cluster what that means for a plan, and ``by`` what it is known."""
    return (
        f"Not assigned to the cluster, by {by}: {', '.join(orphans)}. What they were granted cannot be restored"
        " until they are assigned again."
    )


def to_request(plan: Plan) -> str:
    """Give a message by which somebody who may not carry out a plan hands it to somebody who may."""
    changes = "\n".join(
        f"{plan.describe(change)} in the {step.scope}" for step in plan.steps for change in step.changes
    )
    # By the documentation of the policy.
    head = f"Please run this on {printable(plan.cluster)}; it needs AllDatabasesAdmin."
    return "\n\n".join([head, changes, *(step.command for step in plan.steps)])


def _escaped(text: str) -> str:
    return "".join(f"\\{char}" if char in "\\`*_{}[]<>()#+-.!|&" else char for char in printable(text))


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
