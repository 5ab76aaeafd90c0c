"""The four commands of a policy: show, alter, alter-merge and delete."""

from collections.abc import Callable
from functools import partial
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
    options: str = "",
) -> None:
    """Register the commands of a policy; ``policy`` is its pattern, whose optional parts are required in ``.delete``.

    ``put`` receives a function that turns the current policy into the new one, and returns the rows of the new one.
    ``options`` is the pattern of what may precede the payload. ``needs`` are the cluster roles that may show and change it; for roles in a database or an entity, ``show`` and ``put`` check.
    """
    shows, changes = needs
    payload, deleted = f"{policy} {options} {{string:payload}}", policy.translate(_OPTIONAL)
    change = partial(command, schema=SCHEMA, needs=changes, writes=True)
    command(f".show {policy}", schema=SCHEMA, name=f"{name}_show", needs=shows)(show)
    change(f".alter {payload}", name=f"{name}_alter", long=long)(lambda call: put(call, lambda _: parse(call)))
    change(f".alter-merge {payload}", name=f"{name}_alter_merge", long=long)(
        lambda call: put(call, lambda current: merge(current, parse(call)))
    )
    change(f".delete {deleted}", name=f"{name}_delete")(lambda call: put(call, lambda _: empty))
