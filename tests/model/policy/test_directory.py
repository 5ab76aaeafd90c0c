"""Tests of resolving identities, by any of their names and in any order of learning them."""

import itertools
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqlmi.errors import InputError
from kqlmi.model.entities import SYSTEM, Identity, ObjectId, Scope
from kqlmi.model.policy.directory import Directory
from kqlmi.model.policy.policy import Policy, Snapshot

ONE, CLIENT, NOW, BEFORE = (str(uuid.UUID(int=place + 0xA << 64)) for place in range(1, 5))
RESOURCE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/loader"
LOADER = Identity(ObjectId(ONE), "loader", CLIENT, principal_id=ONE, resource_id=RESOURCE)
SELF = Identity(SYSTEM, "mycluster", is_system=True, principal_id=NOW)
HERE = Scope.cluster()


def policy(*entries: str) -> Snapshot:
    return Snapshot({HERE: Policy.parse(f"[{', '.join(entries)}]")})


def entry(object_id: str, usages: str = "All", **more: object) -> str:
    return str({"ObjectId": object_id, "AllowedUsages": usages, **more}).replace("True", "true")


@pytest.mark.parametrize(
    "text", [ONE, ONE.upper(), f" {ONE} ", "loader", "LOADER", CLIENT, CLIENT.upper(), RESOURCE.upper()]
)
@pytest.mark.parametrize("also", [(), (SELF,)])
def test_an_identity_is_found_by_each_of_its_names(text: str, also: tuple[Identity, ...]) -> None:
    assert Directory().assigning([*also, LOADER]).resolve(text) == LOADER
    assert Directory().learning([LOADER]).resolve(text) == LOADER


@pytest.mark.parametrize("text", ["system", "SYSTEM", " System ", NOW, NOW.upper()])
def test_the_system_identity_is_found_by_the_word_and_by_its_object_id(text: str) -> None:
    assert Directory().assigning([SELF, LOADER]).resolve(text) == SELF
    named = policy(entry(NOW, IsSystem=True, DisplayName="mycluster"))
    assert Directory.of(named).resolve(text).object_id == SYSTEM


@pytest.mark.parametrize("text", ["0f3b7a52-6f0e-4a0c-9d56-3d0f1c1c7a01", "1C9D44E0-2A77-4A44-8F0D-5F4A0CDE7B02"])
def test_an_unknown_object_id_is_kept_in_lower_case(text: str) -> None:
    assert Directory().resolve(text).object_id == text.lower()


@pytest.mark.parametrize(
    "text",
    ["system_assigned", "SystemAssigned", "[system]", "system-assigned identity", "SystemAssignedManagedIdentity"],
)
def test_other_spellings_of_the_system_identity_are_answered_with_the_word(text: str) -> None:
    for known in (Directory(), Directory().assigning([LOADER])):
        with pytest.raises(InputError, match=r"Did you mean system\?"):
            known.resolve(text)
    other = Identity(ObjectId(ONE), text)
    assert Directory().learning([other]).resolve(text) == other


def test_two_identities_of_one_name_are_an_error_that_lists_both_whole() -> None:
    twin = Identity(ObjectId(BEFORE), "Loader", resource_id=RESOURCE.replace("/g/", "/h/"))
    for known in (Directory().learning([LOADER, twin]), Directory().assigning([LOADER]).learning([twin])):
        with pytest.raises(InputError) as caught:
            known.resolve("loader")
        for part in (ONE, RESOURCE, BEFORE, twin.resource_id):
            assert part in str(caught.value)
    assert Directory().learning([LOADER, twin]).resolve(ONE) == LOADER


def test_an_error_for_an_unknown_name_suggests_the_nearest_and_lists_the_places_searched() -> None:
    with pytest.raises(InputError, match=r"'loadr' is not listed in any policy\. Did you mean loader\?"):
        Directory().learning([LOADER]).resolve("loadr")
    with pytest.raises(InputError, match="neither listed in a policy nor assigned to the cluster"):
        Directory().assigning([LOADER]).resolve("loadr")


def test_a_client_id_is_recognised_as_one() -> None:
    known = Directory().assigning([LOADER])
    assert known.client_of(CLIENT.upper()) == LOADER
    assert [known.client_of(text) for text in (ONE, "loader", "system", NOW)] == [None] * 4
    odd = Identity(SYSTEM, client_id=NOW, is_system=True, principal_id=NOW)
    assert Directory().assigning([odd]).client_of(NOW) is None


def test_a_name_in_azure_takes_precedence_over_one_in_a_policy() -> None:
    listed = policy(entry(ONE, DisplayName="system-admin", ClientId=CLIENT))
    for known in (Directory().assigning([LOADER]).reading(listed), Directory().reading(listed).assigning([LOADER])):
        assert known.resolve("loader").object_id == ONE
        with pytest.raises(InputError):
            known.resolve("system-admin")


def test_a_recreated_resource_has_its_new_object_id() -> None:
    again = Identity(ObjectId(BEFORE), "loader", resource_id=RESOURCE)
    known = Directory().assigning([LOADER]).assigning([again])
    assert known.resolve("loader") == known.resolve(RESOURCE) == again
    # In a policy, the old identity is an orphan with the same name.
    with pytest.raises(InputError, match="not assigned"):
        known.reading(policy(entry(ONE, DisplayName="loader"))).resolve("loader")


def test_a_former_system_identity_is_a_separate_orphan() -> None:
    found = policy(entry(BEFORE, "ExternalTable", IsSystem=True), entry(NOW, "SqlRequest", IsSystem=True))
    known = Directory.of(found, [SELF])
    assert known.earlier == {BEFORE}
    assert (known.key(BEFORE), known.key(NOW)) == (BEFORE, SYSTEM)
    assert (known.state(BEFORE), known.state(SYSTEM)) == ("orphan", "assigned")
    assert found.marking(known.earlier).grants(HERE) == {(BEFORE, "ExternalTable"), (SYSTEM, "SqlRequest")}
    # If Azure was not read, or reports no system identity, both mean the system identity.
    assert found.marking(Directory.of(found).earlier).grants(HERE) == {
        (SYSTEM, "ExternalTable"),
        (SYSTEM, "SqlRequest"),
    }
    off = Directory.of(found, [])
    assert not off.earlier
    assert off.state(SYSTEM) == "orphan"
    assert off.assigning([SELF]).earlier == {BEFORE}


def test_a_former_system_identity_stays_former_and_the_word_system_never_is() -> None:
    known = Directory.of(policy(entry(BEFORE, IsSystem=True), entry("system")), [SELF])
    assert known.unsure_of_assigned().reading(policy(entry(BEFORE, IsSystem=True))).earlier == {BEFORE}
    assert known.key("system") == SYSTEM


def test_marks_are_not_part_of_the_policies_that_were_read() -> None:
    found = policy(entry(BEFORE, IsSystem=True)).policies[HERE]
    assert found is not None
    marked = found.marking({BEFORE})
    assert marked == found
    again = Policy.parse(marked.to_record())
    assert again == found
    assert again.grants == marked.grants
    assert marked.to_json() == found.to_json()
    assert marked.grants != found.grants
    assert marked.marking(()) is marked


FACTS = [
    LOADER,
    SELF,
    Identity(ObjectId(ONE), "loader"),
    Identity(ObjectId(ONE), client_id=CLIENT),
    Identity(ObjectId(BEFORE), "other"),
    Identity(ObjectId(BEFORE)),
]


@given(st.permutations(FACTS))
def test_the_order_in_which_identities_are_learnt_does_not_matter(order: list[Identity]) -> None:
    def all_identities(known: Directory) -> set[Identity]:
        return set(known.identities.values())

    assert all_identities(Directory().learning(order)) == all_identities(Directory().learning(FACTS))
    for count in (1, 3):
        halves = Directory().learning(order[:count]).learning(order[count:])
        assert all_identities(halves) == all_identities(Directory().learning(FACTS))


def test_each_identity_has_one_row_by_the_key_that_grants_use() -> None:
    for first, second in itertools.permutations(FACTS, 2):
        known = Directory().learning([first, second])
        assert all(one.object_id == key for key, one in known.identities.items())
