"""Carrying out a plan: check that nothing moved, record, execute, verify, and settle what was left open."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Literal

from kqlmi.cluster.connection import Connection, new_client_request_id
from kqlmi.cluster.evidence import Overwritten, last_writer, overwritten_by
from kqlmi.cluster.policies import policy_of, read_policy
from kqlmi.errors import ApplyError, ConnectionFailedError, KqlmiError, RequestTimeoutError, ServiceError
from kqlmi.model.entities import ObjectId, Scope
from kqlmi.model.plan import Plan, Step
from kqlmi.model.policy import Grant, Policy, grants_of

Outcome = Literal["applied", "partly applied", "not applied", "unknown"]

DEADLINE: Final = 60.0
_PAUSE: Final = 0.5
# Answers by which a service says that it did nothing. A 5xx proves nothing, nor does an answer that is not Kusto's.
_REFUSALS: Final = range(400, 500)
# What stands on the way answers with these too, whether it passed the request on or not: then Kusto's code is missing.
_OF_GATEWAYS: Final = frozenset({408, 429})


@dataclass(frozen=True, slots=True)
class StepResult:
    """What became of one step.

    ``policy`` is what the scope held after it, where that is known. ``overwritten`` is another writer's change that the
    step took back. ``unseen`` is the time in seconds in which such a write could not be ruled out; None where the
    cluster's journal rules it out, or where the command overwrites nothing.
    """

    step: Step
    outcome: Outcome
    policy: Policy | None = None
    client_request_id: str = ""
    overwritten: Overwritten | None = None
    unseen: float | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """A plan that went through: every step was carried out, and its answer is what the plan expected.

    ``entry`` is the ID of the history entry, empty where none was made.
    """

    plan: Plan
    steps: tuple[StepResult, ...]
    outcome: Outcome = "applied"
    entry: str = ""

    @property
    def repair(self) -> Mapping[Scope, Policy]:
        """Give the policies that would bring back what the plan overwrote of others; plan them to see the change."""
        wanted: dict[Scope, Policy] = {}
        for result in self.steps:
            if result.overwritten and (result.overwritten.granted or result.overwritten.revoked):
                policy = result.policy or Policy.empty()
                for identity, usage in sorted(result.overwritten.granted):
                    policy = policy.grant(identity, usage, also=(usage,))
                for identity, usage in sorted(result.overwritten.revoked & policy.grants):
                    policy = policy.revoke(identity, usage)
                wanted[result.step.scope] = policy
        return wanted

    def __str__(self) -> str:
        """Give the outcome, and on a line each what was overwritten or could not be ruled out."""
        lines = [f"Applied and verified on {self.plan.cluster}: {self.plan.summary}."]
        for result in self.steps:
            if result.overwritten:
                lines.append(_told(result.overwritten))
            elif result.unseen is not None:
                lines.append(
                    f"Another write to the policy of the {result.step.scope} in the {result.unseen * 1000:.0f} ms before"
                    " the change could not be ruled out: neither the journal nor the list of commands shows it."
                )
        return "\n".join(lines)


def _told(found: Overwritten) -> str:
    who = f" of {found.principal}" if found.principal else ""
    changes = _changes(found.granted, found.revoked)
    return f"Overwrote a change{who} in the {found.scope}: {changes or found.command}"


def apply_plan(
    connection: Connection,
    plan: Plan,
    *,
    deadline: float = DEADLINE,
    progress: Callable[[tuple[StepResult, ...]], None] = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
) -> Applied:
    """Carry out exactly ``plan``.

    Args:
        connection: What to send it by.
        plan: What was shown.
        deadline: The server's deadline for each command, in seconds. After a connection that broke, the policy is read
            again until it has passed.
        progress: Called with no results once every policy was found as the plan expects, before the first command is
            sent, and after each step; what it raises stops the plan.
        tell: Called with a sentence when the end of a step takes its time.

    Raises:
        ApplyError: A policy is not what the plan was made from (nothing was sent), a step was refused or failed, or
            its answer is not what the plan expected. The error's ``outcome`` and ``steps`` say what landed.
    """
    seen: set[Scope] = set()
    for step in plan.steps:
        if step.scope not in seen:
            _refuse_drift(connection, step, (), begun=False)
        seen.add(step.scope)
    done: tuple[StepResult, ...] = ()
    if plan.steps:
        progress(done)
    for step in plan.steps:
        read_at = time.monotonic()
        if step.verb != "alter-merge":
            _refuse_drift(connection, step, done)
        result, problem = _run(connection, step, deadline, tell)
        if result.outcome == "applied":
            result = _with_evidence(connection, result, time.monotonic() - read_at)
        done = (*done, result)
        progress(done)
        if problem:
            raise _failure(problem, done) from problem
        _refuse_surprise(result, done)
    return Applied(plan, done)


def _refuse_drift(connection: Connection, step: Step, done: tuple[StepResult, ...], *, begun: bool = True) -> None:
    try:
        current = read_policy(connection, step.scope)
    except (ConnectionFailedError, ServiceError) as error:
        if not begun:
            raise
        raise ApplyError(
            f"The policy of the {step.scope} could not be read before its change: {error.message}",
            outcome="partly applied" if done else "not applied",
            steps=done,
            hint=error.hint,
        ) from error
    if grants_of(current) != grants_of(step.before):
        writer = last_writer(connection, step.scope, current)
        by = f" by {writer}" if writer else ""
        raise ApplyError(
            f"The policy of the {step.scope} changed since this plan was made{by}: {_difference(step.before, current)}.",
            outcome="partly applied" if done else "not applied",
            steps=done,
            hint="Read it again, and make the plan again." if done else "Nothing was sent. Make the plan again.",
        )


def _refuse_surprise(result: StepResult, done: tuple[StepResult, ...]) -> None:
    """Refuse an answer without what the step wanted; a merge may meet more, which another writer granted."""
    found = grants_of(result.policy)
    wanted = _as_found(grants_of(result.step.after), result.policy)
    granted = _as_found({(change.identity, change.usage) for change in result.step.changes}, result.policy)
    if not (granted <= found if result.step.verb == "alter-merge" else wanted == found):
        raise ApplyError(
            f"The command ran, but the policy of the {result.step.scope} is not what the plan expected:"
            f" {_difference(result.step.after, result.policy)}.",
            outcome="partly applied",
            steps=done,
            hint="Somebody else may have changed it at the same time: look at it before you go on.",
        )


def _run(
    connection: Connection, step: Step, deadline: float, tell: Callable[[str], None]
) -> tuple[StepResult, BaseException | None]:
    """Carry out one step; an error comes with the result unless the step landed all the same."""
    request, start = new_client_request_id(), time.monotonic()
    try:
        answer = connection.execute(step.command, step.scope.name, timeout=deadline, client_request_id=request)
        return StepResult(step, "applied", policy_of(answer), request), None
    except (ConnectionFailedError, ServiceError, KeyboardInterrupt) as error:
        if nothing_happened(error):
            return StepResult(step, "not applied", step.before, request), error
        # After a time-out the request may still be on its way, and no deadline of the server runs for it yet.
        waits = not isinstance(error, RequestTimeoutError | KeyboardInterrupt)
        if waits:
            tell(f"The answer was lost. Reading the policy of the {step.scope} again, for {deadline:g} s at most…")
        result = replace(_settled(connection, step, start + deadline if waits else None), client_request_id=request)
        return result, None if result.outcome == "applied" else error


def nothing_happened(error: BaseException) -> bool:
    """Tell whether an error proves that a command was not carried out: it never left, or the service refused it."""
    if isinstance(error, ConnectionFailedError):
        return not error.sent
    if not isinstance(error, ServiceError) or error.status not in _REFUSALS:
        return False
    return bool(error.code) or error.status not in _OF_GATEWAYS


def _settled(connection: Connection, step: Step, until: float | None) -> StepResult:
    """Read back after a lost answer.

    The old state proves nothing while the command may still be carried out; ``until`` is when it no longer can be.
    """
    found = StepResult(step, "unknown")
    with suppress(KeyboardInterrupt):
        while True:
            # Asked before the read: what lands while it runs is not in it.
            late = until is not None and time.monotonic() >= until
            with suppress(ConnectionFailedError, ServiceError):
                found = _seen(step, read_policy(connection, step.scope), late=late)
            if found.outcome != "unknown" or until is None or late:
                break
            time.sleep(min(_PAUSE, max(0.0, until - time.monotonic())))
    return found


def _seen(step: Step, policy: Policy | None, *, late: bool) -> StepResult:
    before, after, now = (_state(step, one) for one in (step.before, step.after, policy))
    if now == (after if isinstance(after, bool) else _as_found(after, policy)):
        return StepResult(step, "applied", policy)
    return StepResult(step, "not applied" if late and now == before else "unknown", policy)


def _state(step: Step, policy: Policy | None) -> frozenset[Grant] | bool:
    """Give what tells the policy after a step from the one before: its grants, or else whether there is one at all."""
    return grants_of(policy) if step.changes else policy is None


def _as_found(grants: Iterable[Grant], policy: Policy | None) -> frozenset[Grant]:
    """Give grants with the system identity's GUID as ``system``, where the policy that came back tells whose it is."""
    same = {entry.object_id: entry.identity for entry in (policy.entries if policy else ())}
    return frozenset((same.get(ObjectId(identity), identity), usage) for identity, usage in grants)


def _with_evidence(connection: Connection, result: StepResult, window: float) -> StepResult:
    """Look for a write that the step took back: after the re-read, such a write leaves no trace in the policy."""
    if result.step.verb == "alter-merge":
        return result
    try:
        found = overwritten_by(
            connection, result.step.scope, result.client_request_id, grants_of(result.step.before), window
        )
    except KqlmiError:
        return replace(result, unseen=window)
    return replace(result, overwritten=found)


def _failure(problem: BaseException, done: tuple[StepResult, ...]) -> ApplyError:
    last, landed = done[-1], len(done) - 1
    told, outcome = f"The command for the {last.step.scope} was refused and changed nothing", "not applied"
    if last.outcome == "unknown":
        told, outcome = f"Whether the command for the {last.step.scope} landed is not known", "unknown"
    elif landed:
        outcome = "partly applied"
    reason = problem.message if isinstance(problem, KqlmiError) else "it was interrupted."
    hint = problem.hint if isinstance(problem, KqlmiError) else "Look at the policy before you go on."
    before = f" The {landed} before it landed." if landed else ""
    return ApplyError(f"{told}: {reason}{before}", outcome=outcome, steps=done, hint=hint)


def _difference(expected: Policy | None, found: Policy | None) -> str:
    return _changes(grants_of(found) - grants_of(expected), grants_of(expected) - grants_of(found))


def _changes(granted: frozenset[Grant], revoked: frozenset[Grant]) -> str:
    parts = [f"+ {identity} {usage}" for identity, usage in sorted(granted)]
    parts += [f"- {identity} {usage}" for identity, usage in sorted(revoked)]
    return ", ".join(parts)
