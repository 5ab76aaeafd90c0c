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
    """One identity at one place of a text, and what it is used for there.

    ``workflow`` is None for a flow that does not support a managed identity: ``flow`` is then its name, and the service
    responds that authentication with a managed identity is disabled for it. ``identity`` is ``system``, an object ID in
    lower case, or the text that was written instead; None if the text does not show it. ``target`` is the URL or server,
    without credentials; empty if unknown or none. ``database`` is the one whose policy decides, if the text names it;
    empty for the one in context.

    ``start`` to ``end`` is the part of the text that names the identity, without quotes and key. For the system identity
    of SQL, that is the authentication method; for a name that spans several literals, the part in the first one; and if
    the text does not show the identity, the expression that hides it.
    """

    workflow: Workflow | None
    flow: str
    identity: str | None
    start: int
    end: int
    target: str = ""
    database: str = ""


def named_by(uses: Iterable[Use]) -> tuple[Reference, ...]:
    """Return the identities that uses of one text name, in the order of the text."""
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
