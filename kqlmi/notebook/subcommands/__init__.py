"""The subcommands of ``%kqlmi``."""

# In the order of the help and of the README.
from kqlmi.notebook.subcommands import reading

# isort: split
from kqlmi.notebook.subcommands import writing

# isort: split
from kqlmi.notebook.subcommands import explaining

# isort: split
from kqlmi.notebook.subcommands import auditing

# isort: split
from kqlmi.notebook.subcommands import templating

# isort: split
from kqlmi.notebook.subcommands import ingesting

# isort: split
from kqlmi.notebook.subcommands import whoami

# isort: split
from kqlmi.notebook.subcommands import azure
from kqlmi.notebook.subcommands.registry import CELL_HELP, SUBCOMMANDS, Sessions, run

__all__ = [
    "CELL_HELP",
    "SUBCOMMANDS",
    "Sessions",
    "auditing",
    "azure",
    "explaining",
    "ingesting",
    "reading",
    "run",
    "templating",
    "whoami",
    "writing",
]
