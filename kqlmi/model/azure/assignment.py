"""The assignment of an identity to a cluster: what is assigned, and the plan that changes it."""

import json
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from kqlmi.errors import printable
from kqlmi.model.entities import SYSTEM, Identity
from kqlmi.model.explain.fixes import word
from kqlmi.model.plan.plan import Plan
from kqlmi.report import Code, Line, Report, Section

Verb = Literal["assign", "unassign"]

_FINAL: Final = (
    "This cannot be undone: a system identity that is assigned again has another object ID, and what policies and Azure"
    " roles give to this one is lost."
)


@dataclass(frozen=True, slots=True)
class IdentityBlock:
    """What is assigned to a cluster: the object ID of its system identity, empty where it is off, and resource IDs."""

    system: str = ""
    users: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        """Give the type, which names what is assigned."""
        kinds = [name for name, is_there in (("SystemAssigned", self.system), ("UserAssigned", self.users)) if is_there]
        return ", ".join(kinds) or "None"

    def same(self, other: "IdentityBlock", *, new_system: bool = False) -> bool:
        """Tell whether the same identities are assigned; a ``new_system`` identity is known by its being there alone."""
        ours, theirs = ({one.casefold() for one in block.users} for block in (self, other))
        systems = (bool(self.system), bool(other.system)) if new_system else (self.system, other.system)
        return ours == theirs and systems[0] == systems[1]

    def __str__(self) -> str:
        users = [printable(one.rpartition("/")[2]) for one in self.users]
        return ", ".join([*([f"system ({self.system})"] if self.system else []), *users]) or "none"


@dataclass(frozen=True, slots=True)
class AssignmentPlan(Plan):
    """An identity to assign to a cluster, or to take from it, with what must be found assigned before.

    ``cluster`` is the session's name, ``resource_id`` the cluster's. What is sent names everything that remains, because
    the type that is sent says so: what it leaves out is turned off.
    """

    cluster: str
    resource_id: str
    verb: Verb
    identity: Identity
    before: IdentityBlock

    @property
    def after(self) -> IdentityBlock:
        """Give what is to be assigned; a system identity that is not there yet has no object ID, and is ``system``."""
        if self.identity.object_id == SYSTEM:
            return replace(self.before, system=self.before.system or SYSTEM if self.verb == "assign" else "")
        own = self.identity.resource_id
        rest = tuple(one for one in self.before.users if one.casefold() != own.casefold())
        if self.verb == "unassign":
            return replace(self.before, users=rest)
        return self.before if len(rest) < len(self.before.users) else replace(self.before, users=(*rest, own))

    @property
    def body(self) -> dict[str, Any]:
        """Give the body of the request, exactly as it is sent."""
        after = self.after
        block: dict[str, Any] = {"type": after.type}
        if after.users:
            gone = {one: None for one in self.before.users if one not in after.users}
            # Who is taken away is named alone: the others stay, as the service documents it.
            block["userAssignedIdentities"] = gone or {one: {} for one in after.users}
        return {"identity": block}

    @property
    def steps(self) -> tuple[str, ...]:
        """Give the request that is sent; none where nothing changes."""
        same = self.before.same(self.after)
        return () if same else (f"PATCH {self.resource_id}",)

    @property
    def revokes(self) -> bool:
        """Check whether the plan takes an identity from the cluster."""
        return self.verb == "unassign" and bool(self.steps)

    @property
    def confirm(self) -> str:
        """Return the cluster's name, which is needed where the object ID of its system identity is lost."""
        return self.resource_id.rpartition("/")[2] if self.revokes and self.identity.object_id == SYSTEM else ""

    @property
    def content(self) -> list[Any]:
        """Return everything that the plan does, with what must be assigned before."""
        return [self.cluster, *self.steps, self.body, [self.before.system, *self.before.users], self.verb]

    @property
    def who(self) -> str:
        """Give the identity for people."""
        if self.identity.object_id == SYSTEM:
            return f"system ({self.before.system})" if self.before.system else "system"
        return str(self.identity)

    @property
    def summary(self) -> str:
        """Give the change on one line."""
        return f"{self.verb} {self.who}"

    @property
    def back(self) -> str:
        """Return the line that reverts the plan once it was applied; empty where nothing does."""
        if self.confirm:
            return ""
        other = "unassign" if self.verb == "assign" else "assign"
        named = SYSTEM if self.identity.object_id == SYSTEM else self.identity.resource_id
        on = word(self.cluster)
        return f"%kqlmi {other} {named}{f' --on={on}' if on else ''}"

    def report(self) -> Report:
        """Return the plan with what comes or goes, what stays, and the request."""
        if not self.steps:
            state = "assigned" if self.verb == "assign" else "not assigned"
            return Report(f"Nothing to do on {self.cluster}: {self.who} is {state}.")
        stays = IdentityBlock(
            self.before.system if self.after.system else "",
            tuple(one for one in self.before.users if one in self.after.users),
        )
        change = Line(self.who, "+" if self.verb == "assign" else "-")
        request = Code(f"{self.steps[0]}\n{json.dumps(self.body, indent=2)}", "")
        blocks = (Section("", (change, Line(f"stays: {stays}"), request)),)
        return Report(self.title, self.summary, blocks, (_FINAL,) if self.confirm else ())
