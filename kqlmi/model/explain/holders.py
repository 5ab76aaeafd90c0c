"""The identity that a reference means, if it is written by the kind of ID that its flow requires."""

from typing import Final

from kqlmi.errors import printable
from kqlmi.model.entities import SYSTEM, Identity, ObjectId
from kqlmi.model.explain.fixes import is_identity
from kqlmi.model.policy.access import Access
from kqlmi.model.policy.directory import Directory, like_system
from kqlmi.model.uses.references import Reference

_LABELS: Final = {
    "object_id": "object ID",
    "client_id": "client ID",
    "resource_id": "resource ID",
    "display_name": "name",
}
_CLUSTER: Final = "/providers/microsoft.kusto/clusters/"


def holder(reference: Reference, directory: Directory) -> ObjectId | Access:
    """Return the identity as it appears in grants, or why its use is not allowed or cannot be judged."""
    if reference.identity is None:
        return Access(allowed=None, reason="the identity cannot be determined from the command or query")
    key, kind, found = directory.key(reference.identity), required(reference.flow), directory.named(reference.identity)
    if key == SYSTEM and kind != "resource_id":
        return SYSTEM
    if found is None:
        return _stranger(reference.identity, key, kind)
    given = _given(reference.identity, found)
    if given == kind:
        return found.object_id
    wanted = getattr(found, kind) and f" {printable(getattr(found, kind))}"
    subject = f"{printable(reference.identity)} is the {_LABELS[given]} of {found}"
    return Access(allowed=False, reason=f"{subject}; the {_LABELS[kind]}{wanted} is required")


def _stranger(identity: str, key: ObjectId, kind: str) -> ObjectId | Access:
    """Return an identity that is not known, if it may be one of the required kind."""
    if kind == "object_id" and is_identity(key):
        return key
    if kind == "object_id":
        suggestion = f"; it probably means '{SYSTEM}'" if like_system(identity) else ""
        reason = f"{printable(identity)} is neither an object ID nor '{SYSTEM}'{suggestion}"
        return Access(allowed=False, reason=reason)
    # A data connection names the system identity by its cluster.
    if kind == "resource_id" and _CLUSTER in identity.casefold():
        return SYSTEM
    return Access(allowed=None, reason=f"no known identity has the {_LABELS[kind]} {printable(identity)}")


def required(flow: str) -> str:
    """Return the kind of ID that a flow requires."""
    if flow == "ingest.lightingest":
        return "client_id"
    return "resource_id" if flow.startswith("dataconnection.") else "object_id"


def _given(text: str, found: Identity) -> str:
    """Return the kind of ID by which a text names an identity."""
    same = (kind for kind in _LABELS if getattr(found, kind).casefold() == text.strip().casefold())
    return next(same, "object_id")
