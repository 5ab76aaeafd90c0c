"""The policies of a cluster as its answers hold them."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from kqlmi.cluster.connection import Connection
from kqlmi.cluster.table import Table
from kqlmi.errors import KqlmiError, NoSuchPolicyError, PolicyError, ServiceError
from kqlmi.model import commands
from kqlmi.model.entities import Scope
from kqlmi.model.policy import Policy, Snapshot

_WIDTH: Final = 8


@dataclass(frozen=True, slots=True)
class Policies:
    """Policies that were read, and the refusal of each scope that could not be."""

    snapshot: Snapshot
    refused: Mapping[Scope, KqlmiError]


def policy_of(answer: Table) -> Policy | None:
    """Give the policy in the answer of a policy command; None where there is none.

    The documentation calls the column Policies, the grammar calls it Policy: both are read.
    """
    if not len(answer):
        return None
    value = answer.column("Policy", "Policies")[0]
    if value is not None and not isinstance(value, str):
        raise KqlmiError("The answer holds a policy that is not text.", hint="Look at it with --raw.")
    return Policy.parse(value)


def holds_policy(answer: Table) -> bool:
    """Tell whether an answer has the shape that policy commands give."""
    return answer.has("EntityName") and (answer.has("Policy") or answer.has("Policies"))


def no_such_policy(error: ServiceError) -> NoSuchPolicyError | None:
    """Give what the refusal of a well-formed policy command means, where it is one of its syntax; otherwise None.

    What a cluster without this policy answers is not published: one that does not know a command calls it a fault of
    syntax.
    """
    if error.code != "BadRequest_SyntaxError":
        return None
    return NoSuchPolicyError(
        "The cluster does not know the ManagedIdentity policy.",
        hint="The documentation gives it to Azure Data Explorer alone: a free cluster and an Eventhouse have none.",
        code=error.code,
        type_name=error.type_name,
        status=error.status,
        permanent=error.permanent,
        client_request_id=error.client_request_id,
    )


def read_policy(connection: Connection, scope: Scope) -> Policy | None:
    """Read the policy of one scope; PolicyError names the scope whose policy cannot be understood."""
    try:
        answer = connection.execute(commands.show(scope), scope.name)
    except ServiceError as error:
        raise no_such_policy(error) or error from error
    try:
        return policy_of(answer)
    except PolicyError as error:
        raise PolicyError(f"The policy of the {scope} cannot be understood: {error.message}") from error


def read_policies(connection: Connection, scopes: Iterable[Scope]) -> Policies:
    """Read several policies at a time; give those that could be read, and what stood against each other one.

    Raises:
        ConnectionFailedError: The cluster does not answer at all.
        NoSuchPolicyError: It knows no such policy.
    """
    wanted = list(dict.fromkeys(scopes))
    refused: dict[Scope, KqlmiError] = {}

    def read(scope: Scope) -> Policy | KqlmiError | None:
        try:
            return read_policy(connection, scope)
        except (PolicyError, ServiceError) as error:
            return error

    policies: dict[Scope, Policy | None] = {}
    with ThreadPoolExecutor(_WIDTH) as pool:
        for scope, found in zip(wanted, pool.map(read, wanted), strict=True):
            if isinstance(found, KqlmiError):
                refused[scope] = found
            else:
                policies[scope] = found
    for error in refused.values():
        # Once is enough.
        if isinstance(error, NoSuchPolicyError):
            raise error
    return Policies(Snapshot(policies), refused)
