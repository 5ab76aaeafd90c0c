"""The filled-in template of a flow, with its gates checked against the policies."""

from collections.abc import Mapping

from kqlmi.model import templates
from kqlmi.model.entities import Scope
from kqlmi.model.templates import Place, Template
from kqlmi.session.core import Core, database_name
from kqlmi.session.observation import Subject, observe
from kqlmi.session.policies import database_scope, read
from kqlmi.session.resource_manager import ask


def new(core: Core, flow: str, parameters: Mapping[str, str], *, identity: str, database: str) -> Template:
    """Return the command or program of a flow, with all gates as a checklist. Nothing is executed."""
    form = templates.form(flow)
    target, resource = core.target, core.resource
    query_url, ingest_url = (target.query_url, target.ingest_url) if target else ("", "")
    place = Place(core.name, query_url, resource.resource_id if resource else "", ingest_url)
    checked = form.checked(parameters, place)  # before any request
    scope = database_scope(core, database_name(core, database))
    azure = ask(core)
    snapshot = read(core, [Scope.cluster(), scope], about=(identity,)).snapshot
    found = core.known.directory.resolve(identity)
    about = Subject(form.workflow, found, scope, form.targets(checked), form.entity(checked))
    observed = observe(core, azure, about)
    return templates.fill(form, parameters, found, scope, place=place, snapshot=snapshot, observed=observed)
