"""The template of a flow, filled in and checked against the policies; a method of ``Session``, which takes it over."""

from dataclasses import replace
from typing import TYPE_CHECKING

from kqlmi.errors import InputError
from kqlmi.model import templates
from kqlmi.model.entities import Identity, find_identity
from kqlmi.model.policy import Snapshot
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
    snapshot, assigned = session.read().snapshot, ask(session).identities
    found = _identity(snapshot, assigned or (), identity)
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


def _identity(snapshot: Snapshot, assigned: tuple[Identity, ...], text: str) -> Identity:
    """Give an identity with all that the policies and Azure Resource Manager tell of it."""
    known: dict[str, Identity] = {one.object_id: one for one in assigned}
    for one in snapshot.identities.values():
        listed = known.get(one.object_id, one)
        fields = ("display_name", "client_id", "tenant_id", "principal_id")
        known[one.object_id] = replace(one, **{name: getattr(one, name) or getattr(listed, name) for name in fields})
    wanted = find_identity(known.values(), text)
    return known.get(wanted, Identity(wanted))
