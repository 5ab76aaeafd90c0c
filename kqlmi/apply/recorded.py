"""A plan over policies, applied with a history entry."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from kqlmi.apply.execution import apply_plan
from kqlmi.apply.results import Applied
from kqlmi.cluster.connection import new_client_request_id
from kqlmi.cluster.outcome_recovery import StepResult
from kqlmi.errors import ApplyError
from kqlmi.history import Entry, Recorder, StepRecord
from kqlmi.model.plan.policy_plan import PolicyPlan


def apply_recorded(
    recorder: Recorder,
    plan: PolicyPlan,
    *,
    deadline: float,
    tell: Callable[[str], None],
    progress: Callable[[tuple[StepResult, ...]], None],
) -> Applied:
    """Apply a plan, with a history entry that is begun before the first command.

    Raises:
        HistoryError: The entry cannot be written; nothing was sent.
        ApplyError: The plan did not go through.
    """
    requests = [new_client_request_id() for _ in plan.steps]
    steps = (
        StepRecord(one.scope, one.command, one.before, one.after, client_request_id=request)
        for one, request in zip(plan.steps, requests, strict=True)
    )
    entry = recorder.entry("plan", recorder.with_ids(steps), undoes=plan.undoes)
    begun = False

    def record(done: tuple[StepResult, ...]) -> None:
        nonlocal entry, begun
        if not begun:
            recorder.begin(entry)
            begun = True
        entry = with_results(entry, done)
        if done:
            recorder.update(entry)
        progress(done)

    try:
        applied = apply_plan(
            recorder.connection,
            plan,
            deadline=deadline,
            progress=record,
            tell=tell,
            retrying=recorder.retrying,
            requests=requests,
        )
    except ApplyError as error:
        if begun:
            error.entry = entry.id
            with suppress(KeyboardInterrupt):  # the error says how the plan ended
                # An interrupt may have come before the last step was recorded.
                recorder.close(with_results(entry, error.steps), error.outcome)
        raise
    except BaseException:
        if begun:
            recorder.close(entry)
        raise
    if begun:
        try:
            recorder.close(entry, "applied")
        except KeyboardInterrupt as error:
            raise ApplyError(
                "Interrupted. All of the plan is applied.", outcome="applied", steps=applied.steps, entry=entry.id
            ) from error
    return replace(applied, entry=entry.id if begun else "")


def with_results(entry: Entry, done: Sequence[StepResult]) -> Entry:
    """Return an entry with what became of its first steps."""
    found = (
        replace(
            step,
            after=result.policy if result.outcome == "applied" else step.after,
            outcome=result.outcome,
            client_request_id=result.client_request_id or step.client_request_id,
        )
        for step, result in zip(entry.steps, done, strict=False)
    )
    return replace(entry, steps=(*found, *entry.steps[len(done) :]))
