"""Applying a plan over policies, or a text of one's own that writes them."""

from kqlmi.apply.execution import apply_plan
from kqlmi.apply.results import Applied
from kqlmi.cluster.outcome_recovery import DEADLINE, StepResult

__all__ = ["DEADLINE", "Applied", "StepResult", "apply_plan"]
