"""The record of applied changes: one file for each, written before its first command is sent."""

from kqlmi.history.entries import Entry, HistoryError, Outcome, Reading, StepRecord, new_entry
from kqlmi.history.recorder import Recorder
from kqlmi.history.store import History, default_folder

__all__ = [
    "Entry",
    "History",
    "HistoryError",
    "Outcome",
    "Reading",
    "Recorder",
    "StepRecord",
    "default_folder",
    "new_entry",
]
