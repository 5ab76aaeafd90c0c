"""The identities that are assigned to a cluster, and the plan that changes them."""

import json
import shlex
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from kqlmi.errors import printable
from kqlmi.model.entities import SYSTEM, Identity
from kqlmi.model.explain.fixes import word
from kqlmi.model.plan.plan import Plan
from kqlmi.report import Code, Line, Report, Section

Verb = Literal["assign", "unassign"]

NEEDS: Final = "the role Contributor on the cluster, and Managed Identity Operator on a user-assigned identity"
"""The Azure roles that changing the assignment requires."""

_VERSION: Final = "2025-02-14"
_FINAL: Final = (
    "This cannot be undone: a system identity that is assigned again has a new object ID, and the policy grants and Azure"
    " roles of this one are lost."
)


@dataclass(frozen=True, slots=True)
class IdentityBlock:
    """The identities assigned to a cluster: the system identity's object ID, empty if it is off, and resource IDs."""

    system: str = ""
    users: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        """Return the ``type`` property, which lists the kinds of assigned identities."""
        kinds = [name for name, is_there in (("SystemAssigned", self.system), ("UserAssigned", self.users)) if is_there]
        return ", ".join(kinds) or "None"

    def same(self, other: "IdentityBlock", *, new_system: bool = False) -> bool:
        """Check whether the same identities are assigned; ``new_system`` ignores the object ID of the system identity."""
        ours, theirs = ({one.casefold() for one in block.users} for block in (self, other))
        systems = (bool(self.system), bool(other.system)) if new_system else (self.system, other.system)
        return ours == theirs and systems[0] == systems[1]

    def __str__(self) -> str:
        users = [printable(one.rpartition("/")[2]) for one in self.users]
        return ", ".join([*([f"system ({self.system})"] if self.system else []), *users]) or "none"


@dataclass(frozen=True, slots=True, repr=False)
class AssignmentPlan(Plan):
    """A plan to assign an identity to a cluster or to unassign it; ``before`` are the identities that must be assigned now.

    ``cluster`` is the session's name, ``resource_id`` the cluster's. The type in the request covers every identity that
    remains, because the service turns off the kinds that the type omits.
    """

    cluster: str
    resource_id: str
    verb: Verb
    identity: Identity
    before: IdentityBlock

    @property
    def after(self) -> IdentityBlock:
        """Return the identities assigned afterwards; a new system identity has no object ID yet and appears as ``system``."""
        if self.identity.object_id == SYSTEM:
            return replace(self.before, system=self.before.system or SYSTEM if self.verb == "assign" else "")
        own = self.identity.resource_id
        rest = tuple(one for one in self.before.users if one.casefold() != own.casefold())
        if self.verb == "unassign":
            return replace(self.before, users=rest)
        return self.before if len(rest) < len(self.before.users) else replace(self.before, users=(*rest, own))

    @property
    def body(self) -> dict[str, Any]:
        """Return the body of the request, exactly as it is sent."""
        after = self.after
        block: dict[str, Any] = {"type": after.type}
        if after.users:
            gone = {one: None for one in self.before.users if one not in after.users}
            # A removal lists only the removed identities: the others stay, as the service documents.
            block["userAssignedIdentities"] = gone or {one: {} for one in after.users}
        return {"identity": block}

    @property
    def steps(self) -> tuple[str, ...]:
        """Return the request to send, or an empty tuple if nothing changes."""
        same = self.before.same(self.after)
        return () if same else (f"PATCH {self.resource_id}",)

    @property
    def revokes(self) -> bool:
        """Check whether the plan unassigns an identity."""
        return self.verb == "unassign" and bool(self.steps)

    @property
    def confirm(self) -> str:
        """Return the cluster's name if the plan loses the object ID of the system identity, or an empty string."""
        return self.resource_id.rpartition("/")[2] if self.revokes and self.identity.object_id == SYSTEM else ""

    @property
    def content(self) -> list[Any]:
        """Return everything that the plan does, with the identities that must be assigned before."""
        return [self.cluster, *self.steps, self.body, [self.before.system, *self.before.users], self.verb]

    @property
    def who(self) -> str:
        """Return the identity for display."""
        if self.identity.object_id == SYSTEM:
            return f"system ({self.before.system})" if self.before.system else "system"
        return str(self.identity)

    @property
    def summary(self) -> str:
        """Return the change on one line."""
        return f"{self.verb} {self.who}"

    @property
    def back(self) -> str:
        """Return the line that reverts the applied plan, or an empty string if it is irreversible."""
        if self.confirm:
            return ""
        other = "unassign" if self.verb == "assign" else "assign"
        named = SYSTEM if self.identity.object_id == SYSTEM else self.identity.resource_id
        on = word(self.cluster)
        return f"%kqlmi {other} {named}{f' --on={on}' if on else ''}"

    @property
    def request(self) -> str:
        """Return a message that asks an administrator to apply the plan, with a line for the Azure CLI."""
        url = shlex.quote(f"{self.resource_id}?api-version={_VERSION}")
        return (
            f"Please run this with the Azure CLI; it needs {NEEDS}. The identities that are assigned now are"
            f" {self.before}; if they have changed, the line is outdated.\n\n"
            f"az rest --method patch --url {url} --body {shlex.quote(json.dumps(self.body))}"
        )

    def report(self) -> Report:
        """Return the plan with the identity that is added or removed, those that stay, and the request."""
        if not self.steps:
            state = "assigned" if self.verb == "assign" else "not assigned"
            return Report(f"Nothing to do on {self.cluster}: {self.who} is {state}.")
        unchanged = IdentityBlock(
            self.before.system if self.after.system else "",
            tuple(one for one in self.before.users if one in self.after.users),
        )
        change = Line(self.who, "+" if self.verb == "assign" else "-")
        request = Code(f"{self.steps[0]}\n{json.dumps(self.body, indent=2)}", "")
        blocks = (Section("", (change, Line(f"unchanged: {unchanged}"), request)),)
        return Report(self.title, self.summary, blocks, (_FINAL,) if self.confirm else ())
