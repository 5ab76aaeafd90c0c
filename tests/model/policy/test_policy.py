import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqlmi.errors import PolicyError
from kqlmi.model.entities import SYSTEM, Scope
from kqlmi.model.policy.entry import Entry
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.model.usages import USAGES

LOADER = "11111111-2222-3333-4444-555555555555"
EXPORTER = "aaaaaaaa-2222-3333-4444-555555555555"

KNOWN = st.sampled_from([usage.name for usage in USAGES])
FUTURE = st.text(min_size=1, max_size=12).map(lambda text: text.replace(",", "").strip()).filter(bool)
IDENTITIES = st.uuids().map(str) | st.sampled_from([LOADER, EXPORTER, "system"])
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FILLED_IN = {"ObjectId", "AllowedUsages", "ClientId", "TenantId", "DisplayName", "IsSystem"}
EXTRAS = st.dictionaries(st.text(max_size=8).filter(lambda name: name not in FILLED_IN), JSON_VALUES, max_size=2)
OBJECTS = st.builds(
    lambda identity, usages, name, extra: {
        "ObjectId": identity,
        "AllowedUsages": ", ".join(usages),
        "DisplayName": name,
        **extra,
    },
    IDENTITIES,
    st.lists(KNOWN | FUTURE, min_size=1, max_size=4),
    st.text(max_size=10),
    EXTRAS,
)
TEXTS = st.lists(OBJECTS, max_size=5).map(json.dumps)


def parsed(text: str) -> Policy:
    policy = Policy.parse(text)
    assert policy is not None
    return policy


POLICIES = TEXTS.map(parsed)


@given(POLICIES)
def test_a_written_policy_reads_back_with_the_same_grants_and_unknown_parts(policy: Policy) -> None:
    again = parsed(policy.to_json())
    assert again.grants == policy.grants
    assert [entry.extra for entry in again.entries] == [entry.extra for entry in policy.entries]
    assert [entry.usages for entry in again.entries] == [entry.usages for entry in policy.entries]


@given(POLICIES)
def test_a_record_reads_back_as_an_equal_policy(policy: Policy) -> None:
    assert Policy.parse(policy.to_record()) == policy


@given(POLICIES)
def test_a_written_policy_is_json_and_fits_every_literal(policy: Policy) -> None:
    text = policy.to_json()
    assert isinstance(json.loads(text), list)
    assert text.isascii()
    assert "`" not in text


@given(POLICIES)
def test_a_rewrite_never_sends_what_the_service_fills_in(policy: Policy) -> None:
    for item in json.loads(policy.to_json()):
        assert not {"ClientId", "TenantId", "DisplayName", "IsSystem"} & set(item)


@given(POLICIES, POLICIES)
def test_a_merge_adds_up_and_is_idempotent(one: Policy, other: Policy) -> None:
    merged = one.merge(other)
    assert merged.grants == one.grants | other.grants
    assert merged.merge(other) == merged


@given(POLICIES, IDENTITIES, KNOWN)
def test_a_revoke_reverts_a_grant_and_nothing_else(policy: Policy, identity: str, usage: str) -> None:
    granted = policy.grant(identity, usage)
    assert granted.grants == policy.grants | {(identity, usage)}
    revoked = granted.revoke(identity, usage)
    assert revoked.grants == policy.grants - {(identity, usage)}


@pytest.mark.parametrize("text", [None, "", "  ", "null"])
def test_the_lack_of_a_policy_is_none(text: str | None) -> None:
    assert Policy.parse(text) is None


def test_an_empty_policy_is_not_no_policy() -> None:
    assert Policy.parse("[]") == Policy.empty()


def test_single_quoted_json_is_read_as_the_service_reads_it() -> None:
    text = "[ { 'ObjectId' : 'SYSTEM', 'AllowedUsages' : 'externaltable , All', 'Note': 'it\\'s \"so\" \\\\' } ]"
    policy = parsed(text)
    assert policy.grants == {("system", "ExternalTable"), ("system", "All")}
    assert json.loads(policy.entries[0].extra[0][1]) == 'it\'s "so" \\'


def test_the_system_identity_is_the_same_by_word_and_by_flag() -> None:
    echoed = parsed(f'[{{"ObjectId":"{LOADER}","IsSystem":true,"AllowedUsages":"All"}}]')
    assert echoed.grants == {("system", "All")} == parsed('[{"ObjectId":"system","AllowedUsages":"all"}]').grants
    assert echoed.grant("system", "SqlRequest").entries[0].object_id == LOADER
    assert echoed.grant(LOADER, "SqlRequest").grants == {("system", "All"), ("system", "SqlRequest")}
    assert echoed.revoke(LOADER, "All") == Policy.empty()


def test_numbers_of_unknown_properties_are_not_rounded() -> None:
    number = "0.12345678901234567890123456789"
    policy = parsed(f'[{{"ObjectId":"system","AllowedUsages":"All","Limit":{number}}}]')
    assert number in policy.to_json()


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("[{", "line 1"),
        ("hello", "hello"),
        ("{}", "array"),
        ("[1]", "Item 1"),
        ('[{"AllowedUsages": "All"}]', "ObjectId"),
        ('[{"ObjectId": "system"}]', "AllowedUsages"),
        ('[{"objectId": "system", "AllowedUsages": "All"}]', "instead of objectId"),
        ('[{"ObjectId": "loader", "AllowedUsages": "All"}]', "'loader'"),
        ('[{"ObjectId": "system", "AllowedUsages": ["All"]}]', "AllowedUsages"),
        ('[{"ObjectId": "system", "ObjectId": "system", "AllowedUsages": "All"}]', "'ObjectId'"),
        ('[{"ObjectId": "system", "AllowedUsages": "All", "x": NaN}]', "NaN"),
        ("[" * 100_000, "nested"),
        ('[{"ObjectId": "system", "AllowedUsages": "All", "x": ' + "9" * 5000 + "}]", "too long"),
    ],
)
def test_a_broken_policy_is_refused_and_the_culprit_named(text: str, culprit: str) -> None:
    with pytest.raises(PolicyError, match=culprit):
        Policy.parse(text)


def test_an_unknown_usage_is_refused_with_a_suggestion() -> None:
    with pytest.raises(PolicyError, match="Did you mean ExternalTable"):
        Policy.empty().grant(LOADER, "ExternalTables")
    with pytest.raises(PolicyError, match="Did you mean AutomatedFlows"):
        Policy.empty().revoke(LOADER, "AutomatedFlow")


def test_a_usage_that_the_policy_contains_may_be_granted_to_others() -> None:
    policy = parsed(f'[{{"ObjectId":"{LOADER}","AllowedUsages":"FutureFlow"}}]')
    assert (EXPORTER, "FutureFlow") in policy.grant(EXPORTER, "FutureFlow").grants


def test_a_snapshot_describes_each_identity_from_whichever_policy_knows_it() -> None:
    bare = Policy((Entry(SYSTEM, ("All",)),))
    named = parsed(f'[{{"ObjectId":"{LOADER}","IsSystem":true,"DisplayName":"cluster","AllowedUsages":"All"}}]')
    snapshot = Snapshot({Scope.cluster(): bare, Scope.database("A"): named, Scope.database("B"): None})
    assert snapshot.identities["system"].display_name == "cluster"


def test_database_names_compare_without_case_and_keep_their_spelling() -> None:
    assert Scope.database("Samples") == Scope.database("sAMPLES") != Scope.cluster()
    assert str(Scope.database("sAMPLES")) == "database sAMPLES"
    assert len({Scope.database("a"), Scope.database("A"), Scope.cluster()}) == 2


def test_equal_policies_share_their_parts_and_mix_nothing_up() -> None:
    text = json.dumps([{"ObjectId": LOADER, "AllowedUsages": "All, Odd", "DisplayName": "adx", "IsSystem": True}])
    one, other = Policy.parse(text), Policy.parse(text)
    assert one
    assert other
    assert one.entries[0] is other.entries[0]
    assert one.identities[0] is other.identities[0]
    earlier = Policy.parse(one.marking({LOADER}).to_record())
    assert earlier
    assert [policy.entries[0].identity for policy in (one, earlier)] == [SYSTEM, LOADER]
    assert [policy.holdings for policy in (one, earlier)] == [
        {SYSTEM: {"All", "Odd"}},
        {LOADER: {"All", "Odd"}},
    ]
