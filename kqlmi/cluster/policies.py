"""The policies of a cluster as its answers hold them."""

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


@dataclass(frozen=True, slots=True)
class Policies:
    """Policies that were read, and of each scope that could not be, what stood against it: a refusal, or no answer."""

    snapshot: Snapshot
    refused: Mapping[Scope, KqlmiError]

    @property
    def permitted(self) -> Snapshot:
        """Return the policies that were read, if no other one lacks for want of an answer.

        Raises:
            ConnectionFailedError: One does, so that what is said of the rest may be wrong.
        """
        for error in self.refused.values():
            if isinstance(error, ConnectionFailedError):
                raise error
        return self.snapshot


def holds_policy(answer: Table) -> bool:
    """Return whether an answer has the columns of a policy command's."""
    return answer.has("EntityName") and (answer.has("Policy") or answer.has("Policies"))


def policy_of(answer: Table) -> Policy | None:
    """Return the policy in the answer of a policy command; None where there is none.

    The documentation calls the column Policies, the grammar calls it Policy: both are read.

    Raises:
        AnswerError: It is not the one record that such a command returns, or its policy cannot be read.
    """
    if not holds_policy(answer) or len(answer) != 1:
        raise AnswerError(
            f"The answer is not that of a policy command: {len(answer)} rows of"
            f" {', '.join(column.name for column in answer.columns)}."
        )
    value = answer.column("Policy", "Policies")[0]
    if value is not None and not isinstance(value, str):
        raise AnswerError("The answer holds a policy that is not text.", hint="Look at it with --raw.")
    try:
        return Policy.parse(value)
    except PolicyError as error:
        raise AnswerError(f"The policy in the answer cannot be understood: {error.message}", hint=error.hint) from error


def written_policy(answer: Table, scope: Scope) -> Policy | None:
    """Return the policy in the answer of a command that writes that of a scope.

    Raises:
        AnswerError: It is no such answer, or is not certainly about the scope: read the policy instead.
    """
    policy = policy_of(answer)
    if not is_about(answer, scope):
        raise AnswerError(f"The answer is not about the policy of the {scope}, as far as can be told.")
    return policy


def read_policy(connection: Connection, scope: Scope) -> Policy | None:
    """Read the policy of one scope.

    Raises:
        AnswerError: What came is not the policy of the scope, or cannot be understood.
    """
    try:
        answer = connection.execute(commands.show(scope), scope.name)
    except ServiceError as error:
        raise no_such_policy(error) or error from error
    try:
        policy = policy_of(answer)
    except AnswerError as error:
        raise AnswerError(f"The policy of the {scope} could not be read. {error.message}", hint=error.hint) from error
    about, name = is_about(answer, scope), entity_name(answer)
    called = _called(connection, name) if about is None and name else frozenset({scope})
    if about is False or (called and scope not in called):
        raise AnswerError(
            f"The policy of the {scope} could not be read. The answer is about"
            f" {f'the database {printable(name)}' if name else 'another policy'}.",
            hint="Is there a proxy or a cache in between?",
        )
    if not called:
        warnings.warn(
            f"The answer about the {scope} names it {name!r}, a form that kqlmi does not know.",
            UnknownNameWarning,
            stacklevel=2,
        )
    return policy


def _called(connection: Connection, name: str) -> frozenset[Scope]:
    """Return the database that a name names, by its name and its pretty name; empty if there is none."""
    listed = connection.execute(".show databases")
    names = listed.column("DatabaseName")
    pretty = listed.column("PrettyName") if listed.has("PrettyName") else [None] * len(names)
    for one, other in zip(names, pretty, strict=True):
        if Scope.database(str(one)) == Scope.database(name):
            return frozenset(Scope.database(str(spelling)) for spelling in (one, other) if spelling)
    return frozenset()


def no_such_policy(error: ServiceError) -> NoSuchPolicyError | None:
    """Return what the refusal of a well-formed policy command seems to mean, where it is one of its syntax; otherwise None.

    What a cluster without this policy answers is not published: that one which does not know a command calls it a fault
    of syntax is inferred, so that its own words are kept.
    """
    if error.code != "BadRequest_SyntaxError":
        return None
    return NoSuchPolicyError(
        f"It seems that the cluster does not know the ManagedIdentity policy: {error.message}",
        hint="The documentation gives it to Azure Data Explorer alone: a free cluster and an Eventhouse have none.",
        code=error.code,
        type_name=error.type_name,
        status=error.status,
        permanent=error.permanent,
        client_request_id=error.client_request_id,
    )


def read_policies(connection: Connection, scopes: Iterable[Scope], progress: Progress = unseen) -> Policies:
    """Read several policies at a time; give those that could be read, and what stood against each other one.

    Raises:
        ConnectionFailedError: The cluster does not answer for any scope; with many, for none of the first few.
        NoSuchPolicyError: It knows no such policy.
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
        raise  # once is enough
    except (ConnectionFailedError, ServiceError) as error:
        return error
