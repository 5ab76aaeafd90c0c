"""The commands of the callout policy."""

from collections.abc import Callable

from kqlmi.local.dispatch.changes import put_policy
from kqlmi.local.dispatch.policy_commands import policy_commands
from kqlmi.local.dispatch.registry import Call, Rows
from kqlmi.local.state import callouts
from kqlmi.local.state.callouts import Callouts
from kqlmi.local.values import lenient_json
from kqlmi.local.values.principals import ADMIN, MONITOR


def _show(call: Call) -> Rows:
    """Yield the callout policy, then a row for each predefined rule."""
    state = call.state
    children = lenient_json.dumps([database.name for database in state.world.databases.values()])
    yield ("CalloutPolicy", "", callouts.render(state.world.callouts), children, "Cluster")
    for rule in callouts.PREDEFINED:
        yield ("CalloutPolicy", "", callouts.render((rule,)), children, "Cluster immutable policy")


def _put(call: Call, change: Callable[[Callouts | None], Callouts | None]) -> Rows:
    put_policy(call, "callouts", change, "CalloutPolicy", callouts.render)
    return [("CalloutPolicy", "", callouts.render(call.state.world.callouts), "", "")]


policy_commands(
    "cluster_callout_policy",
    "cluster policy callout",
    show=_show,
    put=_put,
    parse=lambda call: callouts.parse(call.args["payload"]),
    merge=lambda current, added: callouts.merge(current, added or ()),
    empty=None,
    needs=(MONITOR, ADMIN),
)
