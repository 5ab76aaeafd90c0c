"""Tests that a callout rule's regular expression, which anyone who may write the policy chooses, never blocks the cluster."""

import pytest

from kqlmi.local.state import callouts
from kqlmi.local.state.callouts import Callout
from kqlmi.local.values.faults import KustoError

RULE = '[{"CalloutType": "sql", "CalloutUriRegex": %s, "CanCall": true}]'
# To reject a text with these, a backtracking engine needs exponential or quadratic time.
CATASTROPHIC = [r"^(a+)+$", r"^(a|a)*$", r"^(a|aa)+$", r"^([a-z]*)*$", r"a*a*a*a*a*a*a*b$", r"^(.*?,){9}x$"]


@pytest.mark.parametrize("regex", CATASTROPHIC)
def test_every_expression_is_matched_in_linear_time(regex: str) -> None:
    rules = (Callout("sql", regex, can_call=True),)
    assert not callouts.permits(rules, "sql", "a" * 10_000 + "!")


@pytest.mark.parametrize(
    "regex", [r"^(?=a)", r"^(?!a)", r"(?<=a)b", r"(?>a)", r"(a)\\1", "[a-z", "(", "a" * 10 + "{9999}"]
)
def test_an_expression_that_the_linear_engine_does_not_support_is_refused_as_such(
    regex: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KustoError, match="the local cluster does not support the CalloutUriRegex") as refused:
        callouts.parse(RULE % f'"{regex}"')
    assert (refused.value.status, refused.value.code) == (400, "General_BadRequest")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("regex", ["1", "null", '"\\ud800"'])
def test_a_value_that_is_not_text_is_refused(regex: str) -> None:
    with pytest.raises(KustoError):
        callouts.parse(RULE % regex)


@pytest.mark.parametrize(
    ("regex", "url", "may"),
    [
        (r"sqlname\.database\.azure\.com/?$", "https://sqlname.database.azure.com", True),
        (r"sqlname\.database\.azure\.com/?$", "https://sqlname.database.azure.com.evil.example", False),
        ("SQLNAME", "https://sqlname", False),
        ("(?i)SQLNAME", "https://sqlname", True),
        ("^ä+$", "ää", True),
    ],
)
def test_a_rule_matches_anywhere_in_the_address(regex: str, url: str, may: bool) -> None:  # noqa: FBT001 - a table
    assert callouts.permits((Callout("sql", regex, can_call=True),), "sql", url) is may
