"""The gates of a workflow for an identity in a database, and the plans that open them."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from kqlmi.cluster.ingest import read_at_ingestion
from kqlmi.errors import InputError, KqlmiError, ServiceError, printable
from kqlmi.model import templates
from kqlmi.model.azure.assignment import AssignmentPlan
from kqlmi.model.entities import Identity, Scope
from kqlmi.model.explain.gates import Gate, Kind, State, checklist
from kqlmi.model.explain.observations import Observations, Unread
from kqlmi.model.explain.roles import changing
from kqlmi.model.plan import edits, planfile
from kqlmi.model.plan.plan import Plan
from kqlmi.model.policy.access import without_effect
from kqlmi.model.policy.policy import Snapshot
from kqlmi.model.templates import Form
from kqlmi.model.templates.forms import LISTING
from kqlmi.model.templates.values import Values
from kqlmi.model.workflows import Workflow
from kqlmi.report import Code, Described, Report, Section
from kqlmi.session.core import Core, database_name
from kqlmi.session.observation import Subject, observe
from kqlmi.session.plans import azure_plans, policy_plans
from kqlmi.session.policies import database_scope, read
from kqlmi.session.resource_manager import Azure, ask

_WORDS: Final[Mapping[State, str]] = {"done": "open", "not done": "closed", "not checked": "not checked"}


@dataclass(frozen=True, slots=True, repr=False)
class Enablement(Described):
    """The gates of a workflow for an identity in a database, each checked now.

    ``plans`` open the gates of the assignment and of the policy, in this order, if the caller may apply them; ``requests``
    are the texts to send to an administrator otherwise. The other gates contain the cells and lines that open them.
    """

    workflow: Workflow
    identity: Identity
    scope: Scope
    gates: tuple[Gate, ...]
    plans: tuple[Plan, ...] = ()
    requests: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """Check whether every gate was checked and is open."""
        return all(one.state == "done" for one in self.gates)

    def report(self) -> Report:
        """Return the checklist with the IDs of the plans, and the requests."""
        counts = Counter(one.state for one in self.gates)
        parts = (f"{counts[state]} {word}" for state, word in _WORDS.items() if counts[state])
        verdict = "All gates are open" if self.is_open else f"Of {len(self.gates)} gates, {', '.join(parts)}"
        plans = f" Plans, in this order: {', '.join(one.short for one in self.plans)}." if self.plans else ""
        sent = (Section("Send this to an administrator", (Code(text, ""),)) for text in self.requests)
        title = f"{self.workflow.title} with {self.identity} in the {self.scope}"
        return Report(title, f"{verdict}.{plans}", (*checklist(self.gates), *sent), self.notes)


def enable(core: Core, flow: str, given: Mapping[str, str], *, identity: str, database: str, probe: bool) -> Enablement:
    """Check every gate of a workflow, and plan what opens those that kqlmi can open; see ``Session.enable``."""
    form = templates.form(flow)
    row, checked = form.workflow, form.about(given)
    if probe and not (form.probe and "uri" in checked):
        why = "Pass --uri." if form.probe else "Leave out --probe: no request that only reads proves its usage."
        raise InputError(f"{row.title} cannot be probed.", hint=why)
    scope = database_scope(core, database_name(core, database))
    azure = ask(core)
    snapshot = read(core, [Scope.cluster(), scope], about=(identity,)).snapshot
    who, assigning = _identity(core, azure, identity)
    subject = Subject(row, who, scope, form.targets(checked), form.entity(checked))
    observed = observe(core, azure, subject)
    found = [*subject.gates(snapshot, observed, core.name)]
    if probe:
        found.append(_probe(core, form, Values(who, str(scope.name), checked)))
    openings = list[_Opening]()
    if assigning:
        may_assign = not core.read_only and observed.manages is not False
        openings.append(_Opening("assignment", assigning, "" if may_assign else assigning.request))
    if found[1].state != "done":
        openings += _granting(core, subject, snapshot, observed)
    planned = {one.kind for one in openings}
    return Enablement(
        row,
        who,
        scope,
        tuple(replace(one, fixes=()) if one.kind in planned else one for one in found),
        tuple(one.plan for one in openings if not one.request),
        tuple(one.request for one in openings if one.request),
        tuple(_notes(row)),
    )


@dataclass(frozen=True, slots=True)
class _Opening:
    """The plan that opens a gate, and the request for it if the caller may not apply it, otherwise an empty string."""

    kind: Kind
    plan: Plan
    request: str


def _notes(row: Workflow) -> Iterator[str]:
    if row.required_when:
        yield f"An identity is required when: {row.required_when}."
    if row.note:
        yield f"Note: {row.note.removesuffix('.')}."
    if row.reads_as_identity:
        yield "The identity must also be a viewer of every other database that the flow reads."


def _identity(core: Core, azure: Azure, text: str) -> tuple[Identity, AssignmentPlan | None]:
    """Return the identity that ``text`` names, and the plan that assigns it if Azure shows that it is not assigned.

    Raises:
        InputError: No identity has the name.
    """
    directory = core.known.directory
    known = directory.resolve(text) if azure.identities is None or directory.find(text) else None
    listed = azure.identities
    if listed is None or (known and known.object_id in {one.object_id for one in listed}):
        return known or directory.resolve(text), None
    try:
        plan = azure_plans.assign(core, text)
    except KqlmiError:
        return directory.resolve(text), None
    return core.known.directory.resolve(str(plan.identity.object_id)), plan


def _granting(core: Core, subject: Subject, snapshot: Snapshot, observed: Observations) -> Iterator[_Opening]:
    """Yield the plan for the narrowest grant. If the policy was not read, it assumes an empty one and is only requested."""
    usage, scope = subject.workflow.usage, subject.scope
    place = Scope.cluster() if without_effect(scope, usage) else scope
    current = Snapshot({place: snapshot.policies.get(place)})
    plan = policy_plans.make(core, current, edits.grant(current, subject.identity.object_id, [usage]))
    roles = None if isinstance(observed.caller, Unread) else observed.caller
    may_grant = place in snapshot.policies and changing(roles, read_only=core.read_only).answer != "no"
    if plan.steps:
        yield _Opening("grant", plan, "" if may_grant else planfile.to_request(plan))


def _probe(core: Core, form: Form, values: Values) -> Gate:
    """Read the target with the identity, and return the result as a gate; another usage may still be refused."""
    given = (one for one in form.asked if values[one.name])
    text, usage = form.probe.format_map(values.written(given)), form.workflow.usage
    sentence = (
        f"a probe that reads {printable(values['uri'])} with the identity (it proves {usage}, and no other usage)"
    )
    try:
        if form.probe == LISTING and core.target and core.target.query_url != core.target.ingest_url:
            _ = read_at_ingestion(core.target, text, values.database)
        else:
            _ = core.connection.execute(text, values.database)
    except ServiceError as error:
        return Gate("probe", f"{sentence}: {error.message}", state="not done")
    except KqlmiError as error:
        return Gate("probe", f"{sentence}: {error.message}", state="not checked")
    return Gate("probe", f"{sentence}: succeeded", state="done")
