"""The audit findings that a policy file accepts, each with a reason and an expiry date."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import date

from kqlmi.model.audit.findings import Acceptance
from kqlmi.model.audit.rules import RULES
from kqlmi.model.entities import ObjectId, did_you_mean
from kqlmi.model.vocabulary import named_usage
from kqlmi.policyfile.nodes import Node

_KEYS = ("rule", "identity", "scope", "usage", "reason", "until")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_NEEDED = ("rule", "scope", "reason", "until")
_HINT = "Write - {rule: …, identity: …, scope: …, usage: …, reason: …, until: 2026-12-31}, with the audit's values."


def acceptances(node: Node, names: Mapping[str, ObjectId]) -> Iterator[Acceptance]:
    """Yield the acceptances in a list. ``names`` are the names that the file defines for identities.

    Raises:
        PolicyFileError: An acceptance has no reason or expiry date, or an invalid rule, scope or date.
    """
    if node.kind != "sequence":
        raise node.error("accepted must be a list.", _HINT)
    for item in node.items:
        slots = {slot.key.text: slot for slot in item.mapping("An accepted finding", _HINT)}
        for name, slot in slots.items():
            if name not in _KEYS:
                raise slot.key.error(f"unknown key {name!r} in an accepted finding.", did_you_mean(name, _KEYS))
        text = {
            name: slot.value.scalar(f"the {name} of an accepted finding", _HINT).strip() for name, slot in slots.items()
        }
        for name in _NEEDED:
            if not text.get(name):
                raise (slots[name].value if name in slots else item).error(f"an accepted finding has no {name}.", _HINT)
        _check(slots["rule"].value, slots["scope"].value)
        identity = text.get("identity", "")
        yield Acceptance(
            text["rule"],
            text["scope"],
            names.get(identity.casefold(), identity),
            named_usage(text.get("usage", "")),
            text["reason"],
            _day(slots["until"].value),
        )


def _check(rule: Node, scope: Node) -> None:
    if rule.text not in RULES:
        raise rule.error(f"{rule.text!r} is not an audit rule.", did_you_mean(rule.text, RULES))
    kind, _, name = scope.text.partition(" ")
    if scope.text.casefold() != "cluster" and (kind.casefold() != "database" or not name.strip()):
        raise scope.error(f"{scope.text!r} is not a scope.", "Write scope: cluster, or scope: database NAME.")


def _day(node: Node) -> str:
    # Python also accepts 20261231 and 2026-W53-4, but dates are compared as text, and so need one form.
    if _DAY.fullmatch(node.text):
        with suppress(ValueError):
            return date.fromisoformat(node.text).isoformat()
    raise node.error(f"{node.text!r} is not a date.", "Write it as 2026-12-31; the acceptance includes that day.")
