"""Carrying out a plan: check that nothing moved, execute each step, and verify its answer."""

from dataclasses import dataclass
from typing import Final, Literal

from kqlmi.cluster.connection import Connection
from kqlmi.cluster.policies import policy_of, read_policy
from kqlmi.errors import ApplyError, ConnectionFailedError, KqlmiError, ServiceError
from kqlmi.model.plan import Plan, Step
from kqlmi.model.policy import Grant, Policy

Outcome = Literal["applied", "partly applied", "not applied", "unknown"]

_DEADLINE: Final = 60.0
# Answers by which a service says that it did nothing. A 5xx proves nothing, nor does an answer that is not Kusto's.
_REFUSALS: Final = range(400, 500)


@dataclass(frozen=True, slots=True)
class StepResult:
    """What became of one step; ``policy`` is what the scope held after it, where that is known."""

    step: Step
    outcome: Outcome
    policy: Policy | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """A plan that went through: every step was carried out, and its answer is what the plan expected."""

    plan: Plan
    steps: tuple[StepResult, ...]
    outcome: Outcome = "applied"

    def __str__(self) -> str:
        """Give the outcome on one line."""
        return f"Applied and verified on {self.plan.cluster}: {self.plan.summary}."


def apply_plan(connection: Connection, plan: Plan) -> Applied:
    """Carry out exactly ``plan``.

    Raises:
        ApplyError: A policy is not what the plan was made from (nothing was sent), a step was refused or failed, or
            its answer is not what the plan expected. The error's ``outcome`` and ``steps`` say what landed.
    """
    for step in plan.steps:
        _refuse_drift(step, read_policy(connection, step.scope))
    done: list[StepResult] = []
    for step in plan.steps:
        result, problem = _run(connection, step)
        done.append(result)
        if problem:
            raise _failure(problem, done) from problem
        if _grants(result.policy) != _grants(step.after):
            raise ApplyError(
                f"The command ran, but the policy of the {step.scope} is not what the plan expected:"
                f" {_difference(step.after, result.policy)}.",
                outcome="partly applied",
                steps=done,
                hint="Somebody else may have changed it at the same time: look at it before you go on.",
            )
    return Applied(plan, tuple(done))


def _refuse_drift(step: Step, current: Policy | None) -> None:
    if _grants(current) != _grants(step.before):
        raise ApplyError(
            f"The policy of the {step.scope} changed since this plan was made: {_difference(step.before, current)}.",
            outcome="not applied",
            hint="Nothing was sent. Read it again, and make the plan again.",
        )


def _run(connection: Connection, step: Step) -> tuple[StepResult, KqlmiError | None]:
    """Carry out one step; an error comes with the result unless the step landed all the same."""
    try:
        answer = connection.execute(step.command, step.scope.name, timeout=_DEADLINE)
        return StepResult(step, "applied", policy_of(answer)), None
    except (ConnectionFailedError, ServiceError) as error:
        sent = error.sent if isinstance(error, ConnectionFailedError) else error.status not in _REFUSALS
        result = _settled(connection, step) if sent else StepResult(step, "not applied")
        return result, None if result.outcome == "applied" else error


def _settled(connection: Connection, step: Step) -> StepResult:
    """Read back after a lost answer. The old state proves nothing yet: the command may still arrive."""
    try:
        policy = read_policy(connection, step.scope)
    except (ConnectionFailedError, ServiceError):
        return StepResult(step, "unknown")
    landed = _grants(policy) == _grants(step.after) != _grants(step.before)
    return StepResult(step, "applied" if landed else "unknown", policy)


def _failure(problem: KqlmiError, done: list[StepResult]) -> ApplyError:
    last, landed = done[-1], len(done) - 1
    told, outcome = f"The command for the {last.step.scope} was refused and changed nothing", "not applied"
    if last.outcome == "unknown":
        told, outcome = f"Whether the command for the {last.step.scope} landed is not known", "unknown"
    elif landed:
        outcome = "partly applied"
    before = f" The {landed} before it landed." if landed else ""
    return ApplyError(f"{told}: {problem.message}{before}", outcome=outcome, steps=done, hint=problem.hint)


def _grants(policy: Policy | None) -> frozenset[Grant]:
    return policy.grants if policy else frozenset()


def _difference(expected: Policy | None, found: Policy | None) -> str:
    added, gone = _grants(found) - _grants(expected), _grants(expected) - _grants(found)
    parts = [f"+ {identity} {usage}" for identity, usage in sorted(added)]
    parts += [f"- {identity} {usage}" for identity, usage in sorted(gone)]
    return ", ".join(parts)
