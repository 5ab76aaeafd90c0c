"""The application of policy plans, and of users' own statements that write policies."""

from kqlmi.apply.execution import apply_plan
from kqlmi.apply.results import Applied
from kqlmi.cluster.outcome_recovery import DEADLINE, StepResult

__all__ = ["DEADLINE", "Applied", "StepResult", "apply_plan"]
