"""The subcommands of ``%kqlmi``."""

from kqlmi.notebook.subcommands import reading, writing
from kqlmi.notebook.subcommands.registry import CELL_HELP, SUBCOMMANDS, Sessions, run

__all__ = ["CELL_HELP", "SUBCOMMANDS", "Sessions", "reading", "run", "writing"]
