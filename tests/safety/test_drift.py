"""Tests that a plan is refused if and only if the policy has changed, by an independent reading of its JSON."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqlmi.apply import apply_plan
from kqlmi.cluster.protocol.table import Column, Table
from kqlmi.errors import ApplyError
from kqlmi.model.entities import Scope
from kqlmi.model.plan.builder import make_plan
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.model.statement import Statement
from tests.model.policy.test_policy import EXTRAS, FILLED_IN, KNOWN, LOADER, OBJECTS

SCOPE = Scope.database("Samples")
NEWCOMER = "99999999-2222-3333-4444-555555555555"
Objects = list[dict[str, Any]]


class Answering:
    """A connection to a cluster with one policy, which records the commands that change it."""

    def __init__(self, policy: str, plan: PolicyPlan) -> None:
        self.policy, self.after, self.sent = policy, iter(plan.steps), list[str]()

    def execute(self, text: str, *_: object, **__: object) -> Table:
        command = Statement(text).policy_command
        if command and command.verb != "show":
            self.sent.append(text)
            after = next(self.after).after
            self.policy = after.to_record() if after else "null"
        columns = tuple(Column.of(name, "string") for name in ("PolicyName", "EntityName", "Policy"))
        return Table(columns, (("ManagedIdentityPolicy", "[Samples]", self.policy),))

    def close(self) -> None:
        pass


def held(objects: Objects) -> set[tuple[str, ...]]:
    """Return everything in a policy except what the service fills in."""
    found: set[tuple[str, ...]] = set()
    for one in objects:
        who = "system" if one.get("IsSystem") is True else one["ObjectId"]
        found |= {(who, usage.strip()) for usage in one["AllowedUsages"].split(",")}
        found |= {
            (who, name, json.dumps(value, sort_keys=True)) for name, value in one.items() if name not in FILLED_IN
        }
    return found


@st.composite
def rewritten(draw: st.DrawFn) -> tuple[Objects, Objects]:
    """Draw a policy and its later state: rewritten as the service may, or with one thing changed."""
    before: Objects = draw(st.lists(OBJECTS, min_size=1, max_size=4, unique_by=lambda one: one["ObjectId"]))
    now = [dict(one) for one in before]
    place = draw(st.integers(0, len(now) - 1))
    one = now[place]
    match draw(st.sampled_from(["filled in", "order", "usage", "property", "property gone", "object", "object gone"])):
        case "filled in":
            one.update(DisplayName="other", ClientId=NEWCOMER, TenantId=NEWCOMER, IsSystem=False)
        case "order":
            one["AllowedUsages"] = ",".join(reversed(one["AllowedUsages"].split(", ")))
            now.reverse()
        case "usage":
            one["AllowedUsages"] = draw(KNOWN)
        case "property":
            one.update(draw(EXTRAS))
        case "property gone":
            now[place] = {name: value for name, value in one.items() if name in FILLED_IN}
        case "object":
            now.append({"ObjectId": NEWCOMER, "AllowedUsages": "All"})
        case "object gone":
            del now[place]
    return before, now


@given(rewritten(), st.sampled_from(["grant", "revoke", "delete"]))
def test_a_plan_is_refused_if_anything_changed_that_the_service_does_not_fill_in(
    states: tuple[Objects, Objects], kind: str
) -> None:
    before, now = states
    read = Policy.parse(json.dumps(before))
    assert read is not None
    wanted = {"grant": read.grant(NEWCOMER, "AzureAI"), "revoke": Policy.empty(), "delete": None}[kind]
    plan = make_plan(Snapshot({SCOPE: read}), Snapshot({SCOPE: wanted}))
    connection = Answering(json.dumps(now), plan)
    if held(before) == held(now):
        assert apply_plan(connection, plan).outcome == "applied"
        assert connection.sent == [step.command for step in plan.steps]
        return
    with pytest.raises(ApplyError, match="changed since this plan was made") as caught:
        apply_plan(connection, plan)
    assert (caught.value.outcome, connection.sent) == ("not applied", [])


@given(rewritten())
def test_a_merge_sends_nothing_of_what_it_finds(states: tuple[Objects, Objects]) -> None:
    read = Policy.parse(json.dumps(states[0]))
    assert read is not None
    wanted = read.grant(LOADER, "AzureAI", "SqlRequest").grant(NEWCOMER, "All")
    [step] = make_plan(Snapshot({SCOPE: read}), Snapshot({SCOPE: wanted})).steps
    command = Statement(step.command).policy_command
    assert command is not None
    for sent in json.loads(command.payload or ""):
        assert sent.keys() == {"ObjectId", "AllowedUsages"}
        assert (sent["ObjectId"], sent["AllowedUsages"]) not in read.grants
        assert {(sent["ObjectId"], usage) for usage in sent["AllowedUsages"].split(", ")}.isdisjoint(read.grants)
