"""The form of each flow: its fields, and the function that fills them in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from kqlmi.errors import InputError
from kqlmi.model.entities import did_you_mean
from kqlmi.model.templates import fields
from kqlmi.model.templates.fields import Field
from kqlmi.model.templates.values import Place, Values
from kqlmi.model.workflows import WORKFLOWS, Workflow

_ROWS: Final = {row.id: row for row in WORKFLOWS}

# In this order: the target of the callout is first.
_TARGETS: Final = ("uri", "server", "storage", "hub")
_LOCATION: Final = fields.URI.called("the URL of the external table's container or folder, without credentials")
LISTING: Final = ".list blobs ({storage}) MaxFiles=1"
"""The probe of ingestion from storage, which runs at the ingestion endpoint."""

Kind = Literal["kql", "python", "shell"]
Write = Callable[[Values], str]


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of one flow, and the function that writes its command or program.

    ``is_ingestion`` marks a command for the ingestion endpoint. ``line`` writes an equivalent ``%kqlmi`` line.
    ``notes`` supplement those in the flow's row of the catalogue. ``probe`` is a command or query that reads the target in
    the same way and changes nothing, with placeholders as for ``kql``, or empty if there is none.
    """

    flow: str
    fields: tuple[Field, ...]
    write: Write
    kind: Kind = "kql"
    is_ingestion: bool = False
    line: Write | None = None
    notes: tuple[str, ...] = ()
    probe: str = ""

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

    @property
    def asked(self) -> tuple[Field, ...]:
        """Return the parameters on which the gates depend, as optional ones."""
        names = (*_TARGETS, "format") if "{format}" in self.probe else _TARGETS
        own = {one.name: one for one in self.fields if one.name in names}
        if fields.EXTERNAL in self.fields:
            own["uri"] = _LOCATION
        if not self.workflow.caller.startswith("database") and self.workflow.caller:
            own["table"] = next((one for one in self.fields if one.name == "table"), fields.TABLE)
        return tuple(one.maybe() for one in own.values())

    def about(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return the valid values of the parameters in ``asked``, or their defaults.

        Raises:
            InputError: A value is invalid, or the parameter is not one of those.
        """
        known = {one.name: one for one in self.asked}
        if unknown := [f"--{name.replace('_', '-')}" for name in given if name not in known]:
            hint = did_you_mean(unknown[0], [one.option for one in self.asked])
            raise InputError(f"{self.flow} has no option {unknown[0]} here.", hint=hint)
        values = {name: given.get(name) or one.default for name, one in known.items()}
        return {name: known[name].checked(value) for name, value in values.items() if value}

    def targets(self, values: Mapping[str, str]) -> tuple[str, ...]:
        """Return the resources that the flow reaches, the target of its callout first."""
        return tuple(value for name in _TARGETS if (value := values.get(name, "")))

    def entity(self, values: Mapping[str, str]) -> str:
        """Return the name of the table if a role on it suffices for the caller, otherwise an empty string."""
        return "" if self.workflow.caller.startswith("database") else values.get("table", "")

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
