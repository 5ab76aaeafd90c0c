"""Tests of what a policy shows about a command whose answer was lost."""

import pytest

from kqlmi.cluster.outcome_recovery import is_at, shows
from kqlmi.model.entities import Scope
from kqlmi.model.plan.policy_plan import Step
from kqlmi.model.policy.policy import Policy

GUID = "11111111-2222-3333-4444-555555555555"


def policy(text: str) -> Policy | None:
    return Policy.parse(text)


def step(before: Policy | None, after: Policy | None) -> Step:
    return Step(Scope.cluster(), "alter", "", before, after, ())


NONE, EMPTY = policy("null"), policy("[]")
GRANTED = policy(f'[{{"ObjectId": "{GUID}", "AllowedUsages": "All"}}]')
NOTED = policy(f'[{{"ObjectId": "{GUID}", "AllowedUsages": "All", "Note": "a"}}]')
OTHERWISE = policy(f'[{{"ObjectId": "{GUID}", "AllowedUsages": "All", "Note": "b"}}]')
BARE = policy(f'[{{"ObjectId": "{GUID}", "AllowedUsages": ""}}]')


@pytest.mark.parametrize(
    ("before", "after"),
    [(NONE, EMPTY), (EMPTY, NONE), (EMPTY, GRANTED), (GRANTED, NOTED), (NOTED, OTHERWISE), (EMPTY, BARE)],
)
def test_a_change_shows_by_the_first_thing_that_it_changes(before: Policy | None, after: Policy | None) -> None:
    one = step(before, after)
    assert shows(one)
    assert (is_at(one, before, before), is_at(one, after, after)) == (True, True)
    assert (is_at(one, before, after), is_at(one, after, before)) == (False, False)


@pytest.mark.parametrize("same", [NONE, EMPTY, GRANTED, NOTED])
def test_a_command_that_changes_nothing_shows_nothing(same: Policy | None) -> None:
    assert not shows(step(same, same))


def test_only_the_grants_that_change_are_compared() -> None:
    assert is_at(step(EMPTY, GRANTED), GRANTED, NOTED)


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [(NONE, EMPTY, GRANTED), (EMPTY, BARE, GRANTED), (NOTED, GRANTED, EMPTY), (EMPTY, NONE, GRANTED)],
)
def test_if_another_writer_changed_grants_an_unrelated_change_shows_nothing(
    before: Policy | None, after: Policy | None, found: Policy | None
) -> None:
    one = step(before, after)
    assert (is_at(one, before, found), is_at(one, after, found)) == (False, False)


def test_the_system_identity_is_recognised_by_the_policy_that_came_back() -> None:
    found = policy(f'[{{"ObjectId": "{GUID}", "AllowedUsages": "All", "IsSystem": true}}]')
    assert is_at(step(EMPTY, GRANTED), GRANTED, found)
