"""The application of a policy plan: check for drift, send and verify each step, and read back unclear outcomes."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from kqlmi.apply.results import Applied
from kqlmi.apply.sender import Sender, reason, with_results
from kqlmi.cluster import outcome_recovery
from kqlmi.cluster.connection import Connection, server_deadline
from kqlmi.cluster.evidence import last_writer, overwritten_by
from kqlmi.cluster.faults.refusals import nothing_happened
from kqlmi.cluster.faults.retries import Retrying
from kqlmi.cluster.outcome_recovery import DEADLINE, StepResult, as_found
from kqlmi.cluster.policies import read_policy, written_policy
from kqlmi.errors import ApplyError, Ended, KqlmiError
from kqlmi.history import Recorder, StepRecord
from kqlmi.history.recorder import Log
from kqlmi.model.plan.policy_plan import PolicyPlan, Step
from kqlmi.model.policy import commands
from kqlmi.model.policy.diff import difference
from kqlmi.model.policy.policy import Policy, as_read, grants_of, marked_as, state_of


def apply_plan(
    connection: Connection,
    plan: PolicyPlan,
    *,
    deadline: float = DEADLINE,
    progress: Callable[[tuple[StepResult, ...]], None] = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
    retrying: Retrying | None = None,
    recorder: Recorder | None = None,
) -> Applied:
    """Apply exactly ``plan``.

    ``deadline`` is the number of seconds that the server may spend on all attempts to send one command. If the connection
    breaks, the policy is read again until the deadline passes. ``progress`` is called with an empty tuple after all
    policies were checked, and then after each step. An exception from it stops the plan. Before ``retrying`` sends a
    command again, the policy is checked again. A plan without steps gets no history entry.

    Raises:
        InputError: The server does not accept the deadline; nothing was sent.
        HistoryError: The entry cannot be written; nothing was sent.
        ApplyError: A policy changed after planning (nothing was sent), a step was refused or failed, or the response is
            not what the plan expected. The error's ``outcome`` and ``steps`` report what was applied.
    """
    server_deadline(deadline)
    retrying = retrying or Retrying()
    senders = [Sender(connection, one.command, one.scope.name, deadline, retrying, tell) for one in plan.steps]
    log = _log(recorder, plan, senders) if recorder and plan.steps else None
    first = {step.scope: step for step in reversed(plan.steps)}
    for step in reversed(first.values()):
        _refuse_drift(connection, step, (), begun=False)

    def note(done: tuple[StepResult, ...]) -> None:
        if log and done:
            log.save(with_results(log.entry, done))
        elif log:
            log.begin()
        progress(done)

    try:
        done = _run(plan, senders, note)
        if log:
            _close(log, done)
    except ApplyError as error:
        if log and log.begun:
            error.entry = log.entry.id
            with suppress(KeyboardInterrupt):  # the error reports how the plan ended
                # An interrupt may have prevented the record of the last step.
                log.close(with_results(log.entry, error.steps), error.outcome)
        raise
    except BaseException:
        if log and log.begun:
            log.close(log.entry)
        raise
    return Applied(plan, done, entry=log.entry.id if log else "")


def _log(recorder: Recorder, plan: PolicyPlan, senders: Sequence[Sender]) -> Log:
    steps = (
        StepRecord(step.scope, step.command, step.before, step.after, client_request_id=sender.request)
        for step, sender in zip(plan.steps, senders, strict=True)
    )
    return recorder.log("plan", steps, undoes=plan.undoes)


def _close(log: Log, done: tuple[StepResult, ...]) -> None:
    try:
        log.close(log.entry, "applied")
    except KeyboardInterrupt as error:
        raise ApplyError("Interrupted. The whole plan was applied.", outcome="applied", steps=done) from error


def _run(
    plan: PolicyPlan, senders: Sequence[Sender], note: Callable[[tuple[StepResult, ...]], None]
) -> tuple[StepResult, ...]:
    """Send the steps of a plan in order, and return their results. Call ``note`` before the first and after each step."""
    done: tuple[StepResult, ...] = ()
    running: Step | None = None
    try:
        if plan.steps:
            note(done)
        for step, sender in zip(plan.steps, senders, strict=True):
            read_at = time.monotonic()
            if step.verb != "alter-merge":
                _refuse_drift(sender.connection, step, done)
            running = step
            result, problem = _send(sender, step, done)
            if result.outcome == "applied" and step.verb != "alter-merge":
                window = time.monotonic() - read_at
                result, problem = _with_evidence(sender.connection, result, _expected(step, done), problem, window)
            done, running = (*done, result), None
            note(done)
            if problem:
                raise _failure(problem, done, plan) from problem
            _refuse_surprise(step, done)
    except KeyboardInterrupt as error:
        if running:
            sender = senders[len(done)]
            done = (*done, outcome_recovery.read_back(sender.connection, running, sender.request))
        raise _failure(error, done, plan) from error
    return done


def _refuse_drift(connection: Connection, step: Step, done: tuple[StepResult, ...], *, begun: bool = True) -> None:
    try:
        current = marked_as(read_policy(connection, step.scope), step.before)
    except KqlmiError as error:
        raise ApplyError(
            f"Cannot read the policy of the {step.scope} before changing it: {error.message}",
            outcome="partly applied" if done else "not applied",
            steps=done,
            hint=error.hint,
        ) from error
    if state_of(current) != state_of(_expected(step, done)):
        writer = last_writer(connection, step.scope, current)
        by = f" by {writer}" if writer else ""
        raise ApplyError(
            f"The policy of the {step.scope} was changed{by} since this plan was made: {difference(step.before, current)}.",
            outcome="partly applied" if done else "not applied",
            steps=done,
            hint=f"{'Nothing was changed' if begun else 'Nothing was sent'}. Plan the change again."
            if not done
            else "Plan the rest of the change again.",
        )


def _expected(step: Step, done: tuple[StepResult, ...]) -> Policy | None:
    """Return the policy that a step must find: the response of the plan's last step in its scope, if the grants are equal."""
    answers = (one.policy for one in reversed(done) if one.step.scope == step.scope)
    own = marked_as(next(answers, None), step.before)
    return own if own and own.grants == as_found(grants_of(step.before), own) else step.before


def _refuse_surprise(step: Step, done: tuple[StepResult, ...]) -> None:
    """Raise ApplyError if a response lacks what the step wanted. After a merge it may contain other writers' grants."""
    policy = done[-1].policy
    found, wanted = grants_of(policy), as_found(grants_of(step.after), policy)
    granted = as_found(frozenset((change.identity, change.usage) for change in step.changes), policy)
    if not (granted <= found if step.verb == "alter-merge" else wanted == found):
        raise ApplyError(
            f"The command ran, but the policy of the {step.scope} is not what the plan expected:"
            f" {difference(step.after, policy)}.",
            outcome="partly applied",
            steps=done,
            hint="Another writer may have changed the policy at the same time. Check before you continue:"
            f" {commands.show(step.scope)}",
        )


def _send(sender: Sender, step: Step, done: tuple[StepResult, ...]) -> tuple[StepResult, BaseException | None]:
    """Send the command of a step. Return the result, and an interrupt or the error of a step that was not applied."""

    def refuse_drift() -> None:
        if step.verb != "alter-merge":
            _refuse_drift(sender.connection, step, done)

    try:
        answer = sender.send(refuse_drift)
        found = marked_as(written_policy(answer, step.scope), step.before, step.after)
        return StepResult(step, "applied", found, sender.request), None
    except ApplyError:
        raise  # the policy was changed before the command could be sent again
    except (KqlmiError, KeyboardInterrupt) as error:
        result = sender.settled(step, error)
        lost = isinstance(error, KeyboardInterrupt) or result.outcome != "applied"
        return result, error if lost else None


def _with_evidence(
    connection: Connection, result: StepResult, before: Policy | None, problem: BaseException | None, window: float
) -> tuple[StepResult, BaseException | None]:
    """Look for a write that the step overwrote. A write after the drift check leaves no trace in the policy."""
    try:
        found = overwritten_by(connection, result.step.scope, result.client_request_id, as_read(before), window)
    except KqlmiError:
        return replace(result, unseen=window), problem
    except KeyboardInterrupt as error:
        return replace(result, unseen=window), error
    return replace(result, overwritten=found), problem


def _failure(problem: BaseException, done: tuple[StepResult, ...], plan: PolicyPlan) -> ApplyError:
    last, landed = done[-1] if done else None, sum(one.outcome == "applied" for one in done)
    is_interrupt, sent = isinstance(problem, KeyboardInterrupt), getattr(problem, "sent", True)
    outcome: Ended = "partly applied" if landed else "not applied"
    hint = problem.hint if isinstance(problem, KqlmiError) else ""
    command = f"command for the {last.step.scope}" if last else ""
    before, rest = f" Before it, {_counted(landed, plan)} applied." if landed else "", len(plan.steps) - len(done)
    if last and last.outcome == "unknown":
        sentence, outcome = f"kqlmi could not determine whether the {command} was applied", "unknown"
        hint = f"Check before you continue: {commands.show(last.step.scope)}"
    elif is_interrupt and landed == len(plan.steps):
        sentence, outcome, before = "The whole plan was applied", "applied", ""
    elif is_interrupt and landed:
        sentence = f"{_counted(landed, plan)} applied, and the rest changed nothing"
        before = ""
    elif is_interrupt:
        sentence = f"The {command} changed nothing" if last else "Nothing was sent"
    elif not sent:
        sentence = f"The {command} was not sent"
    elif nothing_happened(problem):
        sentence = f"The {command} was refused and changed nothing"
    else:
        sentence, hint = f"The {command} failed, and its policy shows that nothing changed", ""
    unsent = f" After it, {_counted(rest, plan)} not sent." if is_interrupt and outcome == "unknown" and rest else ""
    return ApplyError(
        f"Interrupted. {sentence}.{before}{unsent}" if is_interrupt else f"{sentence}: {reason(problem)}{before}",
        outcome=outcome,
        steps=done,
        hint=hint,
        client_request_id=last.client_request_id if last and (sent or is_interrupt) else "",
    )


def _counted(number: int, plan: PolicyPlan) -> str:
    return f"{number} of {len(plan.steps)} commands {'was' if number == 1 else 'were'}"
