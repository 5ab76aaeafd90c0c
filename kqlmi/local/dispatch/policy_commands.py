"""The four commands of a policy: show, alter, alter-merge and delete."""

from collections.abc import Callable
from typing import Final, TypeVar

from kqlmi.local.dispatch.registry import Call, Rows, command
from kqlmi.local.values.principals import Role

P = TypeVar("P")

SCHEMA: Final = "PolicyName: string, EntityName: string, Policy: string, ChildEntities: string, EntityType: string"
_OPTIONAL: Final = str.maketrans("", "", "[]")


def policy_commands(
    name: str,
    policy: str,
    *,
    show: Callable[[Call], Rows],
    put: Callable[[Call, Callable[[P], P]], Rows],
    parse: Callable[[Call], P],
    merge: Callable[[P, P], P],
    empty: P,
    needs: tuple[frozenset[Role], frozenset[Role]] = (frozenset(), frozenset()),
    long: bool = False,
) -> None:
    """Register the commands of a policy, which ``policy`` names as a pattern does; that of an entity is deleted by name.

    ``put`` is called with what makes the new policy of the one that is there, and answers with the rows of the new one.
    ``needs`` is who may show and who may change it; a policy of a database or an entity asks for that itself.
    """

    def alter(call: Call) -> Rows:
        return put(call, lambda _current: parse(call))

    def alter_merge(call: Call) -> Rows:
        return put(call, lambda current: merge(current, parse(call)))

    def delete(call: Call) -> Rows:
        return put(call, lambda _current: empty)

    shows, changes = needs
    command(f".show {policy}", schema=SCHEMA, name=f"{name}_show", needs=shows)(show)
    for verb, change in (("alter", alter), ("alter-merge", alter_merge)):
        pattern, operation = f".{verb} {policy} {{string:payload}}", f"{name}_{verb.replace('-', '_')}"
        command(pattern, schema=SCHEMA, name=operation, needs=changes, writes=True, long=long)(change)
    pattern = f".delete {policy.translate(_OPTIONAL)}"
    command(pattern, schema=SCHEMA, name=f"{name}_delete", needs=changes, writes=True)(delete)
