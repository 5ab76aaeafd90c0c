"""What a command or query needs of identities, and why one was refused: read from text, policies and refusals."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from kqlmi.errors import KqlmiError, ServiceError
from kqlmi.model.entities import Scope
from kqlmi.model.explain.explanation import Explanation, Verdict, from_refusal, is_identity, judge
from kqlmi.model.policy.policy import Snapshot
from kqlmi.model.uses.references import Reference, references

if TYPE_CHECKING:
    from kqlmi.session.session import Session


_MOST = 8  # references of a refused text whose databases are looked at


@dataclass(frozen=True, slots=True)
class Refusal:
    """The error by which a text was refused, and why; ``explanation`` is None where no identity is to blame."""

    error: ServiceError
    explanation: Explanation | None
    verdicts: tuple[Verdict, ...]


def check(session: "Session", text: str, database: str = "") -> tuple[Verdict, ...]:
    """Tell for each identity that a text uses whether it would be allowed now; nothing of the text is executed."""
    found = references(text)
    key = session.met.directory.key
    about = [one.identity for one in found if one.identity and is_identity(key(one.identity))]
    snapshot = session.read(_scopes(session, found, database), about=about).permitted if found else Snapshot()
    known = session.met.directory
    return tuple(judge(one, snapshot, database or session.database, known) for one in found)


def explain(session: "Session", error: ServiceError, text: str, database: str = "") -> Refusal:
    """Explain a refusal; what cannot be read for that leaves it less certain, and never hides it."""
    found = references(text)
    snapshot = Snapshot()
    # Only these answers can be about an identity; an answer about anything else costs no further request.
    is_gateways = not (error.code or error.type_name)
    if is_gateways or error.status not in {HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN}:
        found = ()
    elif found or error.status == HTTPStatus.FORBIDDEN:
        try:
            # Azure is not asked: an error does not wait for it.
            snapshot = session.read(_scopes(session, found[:_MOST], database)).permitted
        except KqlmiError:
            found = ()
    known = session.met.directory
    verdicts = tuple(judge(one, snapshot, database or session.database, known) for one in found)
    fields = {"message": error.message, "code": error.code, "type_name": error.type_name}
    return Refusal(error, from_refusal(fields, error.details, snapshot, verdicts, session.name, known=known), verdicts)


def _scopes(session: "Session", found: tuple[Reference, ...], database: str) -> list[Scope]:
    names = dict.fromkeys(filter(None, (database or session.database, *(one.database for one in found))))
    return [Scope.cluster(), *map(Scope.database, names)]
