"""The callout policy of the cluster, which states the outside services that it may call."""

from dataclasses import astuple, dataclass
from typing import Any

from kqlmi.local.language import payloads
from kqlmi.local.values import lenient_json, linear_regex
from kqlmi.local.values.faults import KustoError, bad_request, unsupported

TYPES = (
    "kusto", "sql", "mysql", "postgresql", "azure_digital_twins", "cosmosdb", "sandbox_artifacts", "external_data",
    "webapi", "azure_openai",
)  # fmt: skip


@dataclass(frozen=True)
class Callout:
    """A rule that allows or denies a type of callout to the URIs that a regular expression matches."""

    callout_type: str
    uri_regex: str
    can_call: bool


Callouts = tuple[Callout, ...]

# Documented as preconfigured on every cluster.
PREDEFINED: Callouts = tuple(
    Callout(kind, regex, can_call=True)
    for kind, regex in (
        ("kusto", r"[a-z0-9]{3,22}\.(\w+\.)?kusto(mfa)?\.windows\.net/?$"),
        (
            "kusto",
            r"^https://[a-z0-9]{3,22}\.[a-z0-9-]{1,50}\.(kusto\.azuresynapse|kustodev\.azuresynapse-dogfood)\.net/?$",
        ),
        (
            "kusto",
            r"^https://([A-Za-z0-9]+\.)?(ade|adx)\.(int\.|aimon\.)?(applicationinsights|loganalytics|monitor)\.(io|azure\.com)/",
        ),
        ("sql", r"[a-z0-9][a-z0-9\-]{0,61}[a-z0-9]?\.database\.windows\.net/?$"),
        ("sql", r"[a-z0-9-]{0,61}?(-ondemand)?\.sql\.azuresynapse(-dogfood)?\.net/?$"),
        ("external_data", ".*"),
        ("azure_digital_twins", r"[A-Za-z0-9\-]{3,63}\.api\.[A-Za-z0-9]+\.digitaltwins\.azure\.net/?$"),
    )
)

_PROPERTIES = ("CalloutType", "CalloutUriRegex", "CanCall")


def parse(text: str) -> Callouts:
    """Parse the payload of a command."""
    return merge(None, tuple(_callout(item) for item in payloads.read_array("Callout", text)))


def merge(current: Callouts | None, addition: Callouts) -> Callouts:
    """Return the rules with others added; for the same type and expression, the new ``CanCall`` wins."""
    rules = {(rule.callout_type, rule.uri_regex): rule for rule in (*(current or ()), *addition)}
    return tuple(rules.values())


def permits(callouts: Callouts | None, callout_type: str, url: str) -> bool:
    """Check whether a URL may be called: a matching rule must allow it, and none may deny it."""
    matching = [
        rule.can_call
        for rule in (*PREDEFINED, *(callouts or ()))
        if rule.callout_type == callout_type and _compiled(rule.uri_regex).search(url)
    ]
    return bool(matching) and all(matching)


def render(callouts: Callouts | None) -> str:
    """Return the rules as the service shows them; ``null`` without a policy."""
    if callouts is None:
        return "null"
    return lenient_json.dumps([dict(zip(_PROPERTIES, astuple(rule), strict=True)) for rule in callouts])


def _refused(what: str) -> KustoError:
    return bad_request(f"Callout policy: {what}")


def _callout(item: Any) -> Callout:
    if not isinstance(item, dict) or set(item) != set(_PROPERTIES):
        shown = lenient_json.dumps(item)[:200]
        raise _refused(f"each element must be an object of {', '.join(_PROPERTIES)}, not {shown}")
    callout_type, regex, can_call = (item[name] for name in _PROPERTIES)
    if callout_type not in TYPES:
        raise _refused(f"CalloutType must be one of {', '.join(TYPES)}, not {lenient_json.dumps(callout_type)}")
    if not isinstance(can_call, bool):
        raise _refused(f"CanCall must be true or false, not {lenient_json.dumps(can_call)}")
    if not isinstance(regex, str):
        raise _refused(f"CalloutUriRegex must be a string, not {lenient_json.dumps(regex)[:200]}")
    _compiled(regex)
    return Callout(callout_type, regex, can_call)


def _compiled(regex: str) -> Any:
    try:
        return linear_regex.compiled(regex)
    except ValueError as error:
        shown = lenient_json.dumps(regex)[:200]
        raise unsupported(f"the CalloutUriRegex {shown}, which is not a valid regular expression of RE2") from error
