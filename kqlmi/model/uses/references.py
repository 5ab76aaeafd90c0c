"""The identities that a command or query uses, each with its flow."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kqlmi.errors import PolicyError
from kqlmi.model.entities import object_id
from kqlmi.model.uses.queryflows import Use
from kqlmi.model.workflows import WORKFLOWS, Workflow
from kqlmi.redaction import redacted

_BY_ID = {row.id: row for row in WORKFLOWS}


@dataclass(frozen=True, slots=True)
class Reference:
    """One use of an identity in a command or query.

    ``workflow`` is None for a flow that does not support a managed identity: ``flow`` is then its name, and the
    service responds that authentication with a managed identity is disabled for it. The name of a flow that the
    catalogue does not know begins with ``UNKNOWN_FLOW``. ``identity`` is ``system``, an
    object ID in lower case, or whatever was written instead; None if it is not known before run time. ``target`` is
    the URL or server, without credentials, or empty if there is none or it is unknown. ``database`` is the database
    whose policy applies, if the statement names it, or empty for the current one.

    ``start`` to ``end`` are the source offsets of the identity, without quotes and key. For the system identity of
    SQL, they are those of the authentication method; for a name that spans several literals, those of the part in the
    first one; and if the identity is not known, those of the expression that determines it.
    """

    workflow: Workflow | None
    flow: str
    identity: str | None
    start: int
    end: int
    target: str = ""
    database: str = ""


def named_by(uses: Iterable[Use]) -> tuple[Reference, ...]:
    """Return the identities that the uses of one statement name, in their order."""
    found = dict.fromkeys(one for use in uses for one in _references(use))
    return tuple(sorted(found, key=lambda one: (one.start, one.end, one.flow)))


def _references(use: Use) -> Iterator[Reference]:
    workflow = _BY_ID.get(use.flow)
    connection = use.read(use.text.value)
    for named in connection.named:
        # An identity that cannot be determined matters only in a flow that supports one.
        if workflow or named.identity is not None:
            identity = None if named.identity is None else _identity(named.identity)
            place = use.text.span(named.start, named.end)
            yield Reference(workflow, use.flow, identity, *place, redacted(connection.target), use.database)


def _identity(text: str) -> str:
    try:
        return object_id(text)
    except PolicyError:
        return redacted(text)
