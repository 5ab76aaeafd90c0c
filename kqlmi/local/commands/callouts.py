"""The commands of the callout policy."""

from collections.abc import Callable

from kqlmi.local.dispatch.registry import Call, Rows, command
from kqlmi.local.state import callouts
from kqlmi.local.state.callouts import Callouts
from kqlmi.local.values import lenient_json
from kqlmi.local.values.principals import ADMIN, MONITOR

_GIVES = "PolicyName: string, EntityName: string, Policy: string, ChildEntities: string, EntityType: string"


@command(".show cluster policy callout", gives=_GIVES)
def cluster_callout_policy_show(call: Call) -> Rows:
    """Return the callout policy, and a row for each rule that every cluster has."""
    call.require(MONITOR)
    state = call.state
    children = lenient_json.dumps([database.name for database in state.databases.values()])
    yield ("CalloutPolicy", "", callouts.render(state.callouts), children, "Cluster")
    for rule in callouts.PREDEFINED:
        yield ("CalloutPolicy", "", callouts.render((rule,)), children, "Cluster immutable policy")


@command(".alter cluster policy callout {string:payload}", gives=_GIVES, writes=True)
def cluster_callout_policy_alter(call: Call) -> Rows:
    """Replace the callout policy."""
    return _change(call, lambda _held: callouts.parse(call.args["payload"]))


@command(".alter-merge cluster policy callout {string:payload}", gives=_GIVES, writes=True)
def cluster_callout_policy_alter_merge(call: Call) -> Rows:
    """Add to the callout policy."""
    return _change(call, lambda held: callouts.merge(held, callouts.parse(call.args["payload"])))


@command(".delete cluster policy callout", gives=_GIVES, writes=True)
def cluster_callout_policy_delete(call: Call) -> Rows:
    """Remove the callout policy."""
    return _change(call, lambda _held: None)


def _change(call: Call, change: Callable[[Callouts | None], Callouts | None]) -> Rows:
    call.require(ADMIN)
    state = call.state
    with state.lock:
        held = state.callouts
        state.callouts = change(held)
        before, after = callouts.render(held), callouts.render(state.callouts)
        call.record("ALTER-CLUSTER-POLICY", None, entity="CalloutPolicy", before=before, after=after)
    return [("CalloutPolicy", "", after, "", "")]
