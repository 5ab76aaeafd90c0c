"""The form of each flow: its fields, and the function that fills them in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from kqlmi.errors import InputError
from kqlmi.model.entities import did_you_mean
from kqlmi.model.templates.fields import Field
from kqlmi.model.templates.values import Place, Values
from kqlmi.model.workflows import WORKFLOWS, Workflow

_ROWS: Final = {row.id: row for row in WORKFLOWS}

Kind = Literal["kql", "python", "shell"]
Write = Callable[[Values], str]


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of one flow, and the function that writes its command or program.

    ``is_ingestion`` marks a command for the ingestion endpoint. ``line`` writes an equivalent ``%kqlmi`` line.
    ``notes`` supplement those in the flow's row of the catalogue.
    """

    flow: str
    fields: tuple[Field, ...]
    write: Write
    kind: Kind = "kql"
    is_ingestion: bool = False
    line: Write | None = None
    notes: tuple[str, ...] = ()

    @property
    def workflow(self) -> Workflow:
        """Return the flow's row of the catalogue."""
        return _ROWS[self.flow]

    @property
    def usage(self) -> str:
        """Return the ``%kqlmi new`` line for the flow, with placeholders."""
        return " ".join(
            [f"%kqlmi new {self.flow} --identity IDENTITY [--database DATABASE]", *(one.usage for one in self.fields)]
        )

    @property
    def help(self) -> str:
        """Return the ``%kqlmi new`` line for the flow, with the help text of each option."""
        rows = [(one.option, one.help, f" (default: {one.default})" if one.default else "") for one in self.fields]
        width = max(len(option) for option, _, _ in rows)
        lines = [f"    {option.ljust(width)}  {text}{default}" for option, text, default in rows]
        return "\n".join([f"{self.workflow.title}, which needs {self.workflow.usage}:", self.usage, *lines])

    def checked(self, given: Mapping[str, str], place: Place) -> dict[str, str]:
        """Return the value of each field: the given one, that of ``place``, or the default.

        Raises:
            InputError: A field is missing, invalid, or not one of this flow.
        """
        known = {one.name: one for one in self.fields}
        for name in given:
            if name not in known:
                option = f"--{name.replace('_', '-')}"
                hint = did_you_mean(option, [one.option for one in self.fields])
                raise InputError(f"{self.flow} has no option {option}.", hint=hint)
        known_here = {"resource_id": place.resource_id, "ingest_uri": place.ingest_uri}
        values = {one: given.get(one.name) or known_here.get(one.name) or one.default for one in self.fields}
        if missing := [one.option for one, value in values.items() if not (value or one.optional)]:
            raise InputError(f"{self.flow} needs {' and '.join(missing)}.", hint=f"Use {self.usage}")
        return {one.name: one.checked(value) for one, value in values.items() if value}


FORMS: dict[str, Form] = {}
"""The form of each flow of the catalogue, by its ID."""


def template(flow: str, *fields: Field, **options: Any) -> Callable[[Write], Write]:
    """Register a function that writes a flow's command or program from its fields; the options are those of ``Form``."""

    def register(write: Write) -> Write:
        FORMS[flow] = Form(flow, fields, write, **options)
        return write

    return register


def kql(flow: str, text: str, *fields: Field, **options: Any) -> None:
    """Register a command or query, with ``{placeholders}`` for the values of ``Values.written``."""
    template(flow, *fields, **options)(lambda values: text.format_map(values.written(fields)))


def form(flow: str) -> Form:
    """Return the form of a flow, by its ID or its workflow's title.

    Raises:
        InputError: The flow does not exist.
    """
    if found := find_form(flow):
        return found
    titles = (one.workflow.title for one in FORMS.values())
    raise InputError(f"Flow {flow!r} does not exist.", hint=did_you_mean(flow, [*titles, *FORMS]))


def find_form(flow: str) -> Form | None:
    """Return the form of a flow like ``form``, or None if the flow does not exist."""
    word = flow.strip().casefold()
    return next((one for one in FORMS.values() if word in {one.flow, one.workflow.title.casefold()}), None)
