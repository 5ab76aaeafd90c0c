"""Tests that documented commands that are not supported are refused with the feature's name, not with a syntax error."""

import re

import pytest

from kqlmi.local.commands import match
from kqlmi.local.dispatch import registry
from kqlmi.local.values.faults import KustoError

ARGUMENTS = {
    "name": "['T']",
    "known_name": "['D'].['T']",
    "known_bracket": "[1, 2]",
    "known_policy": "caching",
    "names": "(A, B)",
    "schema": "(a: string)",
}


@pytest.mark.parametrize("verb", sorted(registry._KNOWN))
def test_each_known_command_is_refused_with_the_name_of_its_feature(verb: str) -> None:
    for pattern, feature, _flow in registry._KNOWN[verb]:
        text = re.sub(r"\{(\w+):\w+\}", lambda found: ARGUMENTS[found[1]], pattern)
        with pytest.raises(KustoError) as caught:
            match(f"{text} whatever ('follows', 1)")
        named = feature.format(policy="caching")
        assert caught.value.detail.endswith(f"the local cluster does not support {named}"), text


@pytest.mark.parametrize(
    "text", [".show table T policy cachin", ".show operationz", ".alter table T", ".set T", ".shw"]
)
def test_an_undocumented_command_is_a_syntax_error(text: str) -> None:
    with pytest.raises(KustoError, match="SYN0002"):
        match(text)


def test_an_unsupported_command_with_an_identity_gets_the_published_sentence() -> None:
    text = ".dup-next-ingest into T to h@'https://acct.blob.core.windows.net/data%s'"
    with pytest.raises(KustoError, match="Authentication with a Managed Identity is disabled for this flow"):
        match(text % ";managed_identity=system")
    with pytest.raises(KustoError, match="does not support the duplication of ingestion"):
        match(text % ";impersonate")
