"""Carrying out a plan."""

from kqlmi.apply.execution import DEADLINE, apply_plan
from kqlmi.apply.results import Applied, StepResult

__all__ = ["DEADLINE", "Applied", "StepResult", "apply_plan"]
