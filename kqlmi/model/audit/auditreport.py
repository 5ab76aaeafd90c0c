"""An audit as JSON for programs, and as SARIF for code scanning."""

import json
from typing import Any, Final

from kqlmi.errors import printable
from kqlmi.model.audit.audit import Audit
from kqlmi.model.audit.findings import Acceptance, Finding
from kqlmi.model.audit.rules import RULES

_LEVELS: Final = {"high": "error", "medium": "warning", "low": "note"}
_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_FORMAT: Final = 1


def to_json(audit: Audit) -> str:
    """Return an audit as JSON.

    Properties: ``kqlmi`` (the format, 1), ``cluster``, ``findings``, ``accepted`` (findings with ``reason`` and ``until``),
    ``unproven``, ``sources`` (with ``outcome`` and ``window``) and ``unread``. A finding has ``id``, ``rule``, ``severity``,
    ``scope`` (a database's name, null for the cluster), ``identity``, ``usage``, ``subject``, ``message``, ``evidence``,
    ``commands`` (those that fix it, or null) and ``why_not``.
    """
    accepted = [{**_finding(audit, one), "reason": by.reason, "until": by.until} for one, by in audit.accepted]
    document = {
        "kqlmi": _FORMAT,
        "cluster": audit.cluster,
        "findings": [_finding(audit, one) for one in audit.findings],
        "accepted": accepted,
        "unproven": [{"scope": one.scope.name, **_fields(one, "identity", "usage", "why")} for one in audit.unproven],
        "sources": [
            {**_fields(one, "name"), "database": one.database or None, **_fields(one, "outcome", "window", "detail")}
            for one in audit.sources
        ],
        "unread": list(audit.unread),
        "orphans_checked": audit.knows_assigned,
    }
    return json.dumps(document, indent=2)


def to_sarif(audit: Audit, version: str) -> str:
    """Return an audit as a SARIF 2.1.0 log, in which accepted findings are suppressed results."""
    rules = [
        {"id": row.name, "shortDescription": {"text": row.about}, "defaultConfiguration": {"level": "warning"}}
        for row in RULES.values()
    ]
    driver = {"name": "kqlmi", "version": version, "rules": rules}
    results = [_result(audit, one) for one in audit.findings]
    results += [_result(audit, one, by) for one, by in audit.accepted]
    run = {"tool": {"driver": driver}, "results": results}
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _finding(audit: Audit, one: Finding) -> dict[str, Any]:
    plan = audit.plans.get(one.id)
    return {
        **_fields(one, "id", "rule", "severity"),
        "scope": one.scope.name,
        **_fields(one, "identity", "usage", "subject", "message"),
        "evidence": [_fields(each, "source", "window", "says", "state", "inferred") for each in one.evidence],
        "commands": [step.command for step in plan.steps] if plan else None,
        **_fields(one.fix, "why_not", "note"),
    }


def _fields(value: object, *names: str) -> dict[str, Any]:
    return {name: getattr(value, name) for name in names}


def _result(audit: Audit, one: Finding, by: Acceptance | None = None) -> dict[str, Any]:
    where = f"{audit.cluster}/{one.scope}" if one.scope.name is not None else audit.cluster
    result: dict[str, Any] = {
        "ruleId": one.rule,
        "ruleIndex": list(RULES).index(one.rule),
        "level": _LEVELS[one.severity],
        "message": {"text": _message(one.message)},
        "locations": [{"logicalLocations": [{"fullyQualifiedName": printable(where), "kind": "resource"}]}],
        "partialFingerprints": {"kqlmiFinding/v1": one.id},
    }
    if by:
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": printable(by.reason)}]
    return result


def _message(text: str) -> str:
    """Return a string escaped for SARIF, so that names from a cluster form no link and no placeholder in it."""
    # SARIF 2.1.0 doubles braces (3.11.5). It has no escape for a link (3.11.6), so Markdown's escape separates the two
    # halves of one.
    return printable(text).replace("{", "{{").replace("}", "}}").replace("](", "]\\(")
