"""The template of a flow: its command or program for one identity in one database, and the checklist of its gates."""

from collections.abc import Mapping
from dataclasses import dataclass

from kqlmi.model.entities import Identity, Scope
from kqlmi.model.explain import gates
from kqlmi.model.explain.fixes import word
from kqlmi.model.explain.gates import Gate
from kqlmi.model.explain.observations import NOTHING, Observations
from kqlmi.model.policy.policy import Snapshot
from kqlmi.model.templates.forms import Form, Kind
from kqlmi.model.templates.values import Place, Values
from kqlmi.model.workflows import Workflow
from kqlmi.report import Described, Report


@dataclass(frozen=True, slots=True, repr=False)
class Template(Described):
    """A flow's filled-in template.

    ``text`` is a single command or query, Python code, or a shell line, depending on ``kind``. ``line`` is an equivalent
    ``%kqlmi`` line, or empty. ``filled`` maps the options that were not passed to the values used.
    """

    workflow: Workflow
    text: str
    kind: Kind
    identity: Identity
    database: str
    checklist: tuple[Gate, ...]
    line: str = ""
    filled: Mapping[str, str] | None = None
    notes: tuple[str, ...] = ()
    on: str = ""

    @property
    def cell(self) -> str:
        """Return the notebook cell to run: the ``%kqlmi`` line if there is one, otherwise ``text``."""
        if self.line:
            return self.line
        if self.kind == "shell":
            return f"!{self.text}"
        if self.kind == "python":
            return self.text
        words = [f"--{name}={word(value)}" for name, value in (("database", self.database), ("on", self.on)) if value]
        return "\n".join([" ".join(["%%kqlmi", *(one for one in words if not one.endswith("="))]), self.text])

    def report(self) -> Report:
        """Return the title, the checklist and the notes, without ``text``."""
        row = self.workflow
        usage = f"{row.usage} ({'documented' if row.sure == 'documented' else 'inferred: no documentation page names the usage'})"
        verdict = f"{usage}, for {self.identity} in the {Scope.database(self.database)}."
        checklist = gates.checklist(self.checklist)
        filled = [f"Filled in: {name} {value}" for name, value in (self.filled or {}).items()]
        notes = [f"Note: {note}" for note in self.notes]
        return Report(row.title, verdict, checklist, (*notes, *filled, f"Source: {row.doc}"))


def fill(
    form: Form,
    given: Mapping[str, str],
    identity: Identity,
    scope: Scope,
    *,
    place: Place,
    snapshot: Snapshot,
    observed: Observations = NOTHING,
) -> Template:
    """Fill in the template of a flow for an identity in a database.

    ``snapshot`` contains the policies of the cluster and the database; ``observed`` is what was read about other gates.

    Raises:
        InputError: A field is missing, invalid, or not one of this flow.
    """
    checked = form.checked(given, place)
    values = Values(identity, str(scope.name), checked)
    row = form.workflow
    targets, entity = form.targets(checked), form.entity(checked)
    found = gates.gates(row, identity, scope, snapshot, observed=observed, targets=targets, entity=entity, on=place.on)
    checklist = [*found]
    endpoint = _endpoint(values, place) if form.is_ingestion else None
    if endpoint:
        checklist.append(endpoint)
    unwritten = "the first line of a cell cannot contain the database's name: make it the current database"
    is_unwritten = form.kind == "kql" and not word(values.database)
    line = form.line(values) if form.line else ""
    on = word(place.on)
    required = f"an identity is required when: {row.required_when}" if row.required_when else ""
    return Template(
        row,
        form.write(values),
        form.kind,
        identity,
        values.database,
        tuple(checklist),
        f"{line} --on={on}" if line and on else line,
        {one.option: checked[one.name] for one in form.fields if one.name in checked and not given.get(one.name)},
        tuple(filter(None, (required, row.note, *form.notes, unwritten if is_unwritten else ""))),
        # The cell runs on the current connection, which will then be the one to the ingestion endpoint.
        "" if endpoint and endpoint.state != "done" else place.on,
    )


def _endpoint(values: Values, place: Place) -> Gate:
    """Return the gate for the connection to the ingestion endpoint, where the command must run."""
    wanted = values["ingest_uri"] or place.ingest_uri
    if wanted and place.url.rstrip("/") == wanted.rstrip("/"):
        return Gate("endpoint", f"the session is connected to the ingestion endpoint, {wanted}", state="done")
    anywhere = "https://ingest-<cluster>.<region>.kusto.windows.net"
    database = word(values.database)
    line = f"%kqlmi connect {wanted}{f' --database={database}' if database else ''}"
    sentence = f"the command must run at the ingestion endpoint, {wanted or anywhere}"
    return Gate("endpoint", sentence, (line,) if wanted else ())
