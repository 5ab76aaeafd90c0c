"""The template of a flow, filled in and checked against the policies; a method of ``Session``, which takes it over."""

from typing import TYPE_CHECKING

from kqlmi.errors import InputError
from kqlmi.model import templates
from kqlmi.model.entities import Scope
from kqlmi.model.templates import Place, Template
from kqlmi.session.azure import ask

if TYPE_CHECKING:
    from kqlmi.session.session import Session


def new(session: "Session", flow: str, *, identity: str, database: str = "", **parameters: str) -> Template:
    """Write the command or program of a flow for an identity in a database, with all gates as a checklist.

    Nothing of it is executed. ``kqlmi.model.templates.FORMS[flow].fields`` are its parameters.

    Raises:
        InputError: The flow, the identity or the database is not known, or a parameter is missing or does not fit.
    """
    form = templates.form(flow)
    form.checked(parameters, _place(session))  # before anything is asked of the cluster
    if not (database or session.database):
        raise InputError("No database is said.", hint="Say --database NAME.")
    scope = session.database_scope(database or session.database)
    assigned = ask(session).identities
    snapshot = session.read([Scope.cluster(), scope], about=(identity,)).snapshot
    found = session.met.directory.resolve(identity)
    listed = None if assigned is None else [one.object_id for one in assigned]
    return templates.fill(form, parameters, found, scope, place=_place(session), snapshot=snapshot, assigned=listed)


def _place(session: "Session") -> Place:
    target, resource = session.target, session.resource
    return Place(
        session.name,
        target.query_url if target else "",
        resource.resource_id if resource else "",
        target.ingest_url if target else "",
    )
