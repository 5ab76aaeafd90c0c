"""The history of a cluster's policies: what changes them is recorded, and what was left open is settled."""

from kqlmi.recording.recorder import Recorder

__all__ = ["Recorder"]
