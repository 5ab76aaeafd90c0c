"""The policies of a cluster, read from its responses."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kqlmi.cluster.answer_subjects import UnknownNameWarning, entity_name, is_about
from kqlmi.cluster.connection import Connection
from kqlmi.cluster.protocol.table import Table
from kqlmi.errors import (
    AnswerError,
    ConnectionFailedError,
    KqlmiError,
    NoSuchPolicyError,
    PolicyError,
    ServiceError,
    printable,
)
from kqlmi.fanout import WIDTH, Progress, each, unseen
from kqlmi.model.entities import Scope
from kqlmi.model.policy import commands
from kqlmi.model.policy.policy import Policy, Snapshot


@dataclass(frozen=True, slots=True, repr=False)
class Policies:
    """Policies that were read, and the error of each scope whose policy could not be read."""

    snapshot: Snapshot
    refused: Mapping[Scope, KqlmiError]

    def __repr__(self) -> str:
        return f"<Policies: {len(self.snapshot.policies):,} read, {len(self.refused):,} not read>"

    @property
    def permitted(self) -> Snapshot:
        """Return the policies that were read, if the cluster at least refused the others.

        Raises:
            ConnectionFailedError: The cluster did not respond for a scope, so conclusions from the others may be wrong.
        """
        for error in self.refused.values():
            if isinstance(error, ConnectionFailedError):
                raise error
        return self.snapshot


def holds_policy(answer: Table) -> bool:
    """Check whether a response has the columns of a policy command's response."""
    return answer.has("EntityName") and (answer.has("Policy") or answer.has("Policies"))


def policy_of(answer: Table) -> Policy | None:
    """Return the policy in the response to a policy command, or None if there is no policy.

    The documentation calls the column Policies, the grammar calls it Policy. Both are read.

    Raises:
        AnswerError: The response is not the one record that such a command returns, or its policy is invalid.
    """
    if not holds_policy(answer) or len(answer) != 1:
        raise AnswerError(
            f"The response is not from a policy command: it has {len(answer)} rows and the columns"
            f" {', '.join(column.name for column in answer.columns)}."
        )
    value = answer.column("Policy", "Policies")[0]
    if value is not None and not isinstance(value, str):
        raise AnswerError("The policy in the response is not a string.", hint="Use --raw to see it.")
    try:
        return Policy.parse(value)
    except PolicyError as error:
        raise AnswerError(f"The policy in the response is invalid: {error.message}", hint=error.hint) from error


def written_policy(answer: Table, scope: Scope) -> Policy | None:
    """Return the policy in the response to a command that writes the policy of a scope.

    Raises:
        AnswerError: The response does not match such a command, or is not certainly about the scope.
    """
    policy = policy_of(answer)
    if not is_about(answer, scope):
        raise AnswerError(f"The response does not seem to be about the policy of the {scope}.")
    return policy


def read_policy(connection: Connection, scope: Scope) -> Policy | None:
    """Read the policy of one scope.

    Raises:
        AnswerError: The response is not about the policy of the scope, or the policy is invalid.
    """
    try:
        answer = connection.execute(commands.show(scope), scope.name)
    except ServiceError as error:
        raise no_such_policy(error) or error from error
    try:
        policy = policy_of(answer)
    except AnswerError as error:
        raise AnswerError(f"Cannot read the policy of the {scope}. {error.message}", hint=error.hint) from error
    about, name = is_about(answer, scope), entity_name(answer)
    called = _called(connection, name) if about is None and name else frozenset({scope})
    if about is False or (called and scope not in called):
        raise AnswerError(
            f"Cannot read the policy of the {scope}. The response is about"
            f" {f'the database {printable(name)}' if name else 'another policy'}.",
            hint="Check for a proxy or a cache in between.",
        )
    if not called:
        warnings.warn(
            f"The response about the {scope} names it {name!r}, which kqlmi does not recognise.",
            UnknownNameWarning,
            stacklevel=2,
        )
    return policy


def _called(connection: Connection, name: str) -> frozenset[Scope]:
    """Return the database with a name, once by its name and once by its pretty name, or nothing if it does not exist."""
    listed = connection.execute(".show databases")
    names = listed.column("DatabaseName")
    pretty = listed.column("PrettyName") if listed.has("PrettyName") else [None] * len(names)
    for one, other in zip(names, pretty, strict=True):
        if Scope.database(str(one)) == Scope.database(name):
            return frozenset(Scope.database(str(spelling)) for spelling in (one, other) if spelling)
    return frozenset()


def no_such_policy(error: ServiceError) -> NoSuchPolicyError | None:
    """Return the error for a cluster without this policy, or None if the refusal has another cause.

    The response of such a cluster is not published. It is inferred that the cluster reports a well-formed policy command
    as a syntax error, so its own message is kept.
    """
    if error.code != "BadRequest_SyntaxError":
        return None
    return NoSuchPolicyError(
        f"The cluster does not seem to support the ManagedIdentity policy: {error.message}",
        hint="The documentation lists it for Azure Data Explorer only: a free cluster or an Eventhouse does not have it.",
        code=error.code,
        type_name=error.type_name,
        status=error.status,
        permanent=error.permanent,
        client_request_id=error.client_request_id,
    )


def read_policies(connection: Connection, scopes: Iterable[Scope], progress: Progress = unseen) -> Policies:
    """Read several policies at a time. Return those that could be read, and the errors of the others.

    Raises:
        ConnectionFailedError: The cluster does not respond for any scope, or for any of the first few of many.
        NoSuchPolicyError: The cluster does not seem to support the policy.
    """
    wanted = list(dict.fromkeys(scopes))

    def seen(found: list[Policy | KqlmiError | None]) -> None:
        silent = [one for one in found if isinstance(one, ConnectionFailedError)]
        if silent and len(silent) == len(found) == min(WIDTH, len(wanted)):
            raise silent[0]
        progress(len(found), len(wanted), "policies")

    answers = dict(zip(wanted, each(lambda scope: _policy_or_error(connection, scope), wanted, seen), strict=True))
    return Policies(
        Snapshot({scope: one for scope, one in answers.items() if not isinstance(one, KqlmiError)}),
        {scope: one for scope, one in answers.items() if isinstance(one, KqlmiError)},
    )


def _policy_or_error(connection: Connection, scope: Scope) -> Policy | KqlmiError | None:
    try:
        return read_policy(connection, scope)
    except NoSuchPolicyError:
        raise  # every scope would fail in the same way
    except (ConnectionFailedError, ServiceError) as error:
        return error
