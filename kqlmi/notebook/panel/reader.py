"""The reader of a panel: it reads policies from the cluster, and detects changes that others have made meanwhile."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from kqlmi.errors import InputError, KqlmiError, PolicyError
from kqlmi.model.entities import ALL, Identity, ObjectId, Scope, object_id
from kqlmi.model.plan.draft import Draft
from kqlmi.model.policy.diff import Change, diff
from kqlmi.model.policy.directory import Directory
from kqlmi.model.policy.policy import Snapshot
from kqlmi.notebook.panel import words
from kqlmi.session import Session

_BATCH: Final = 8


@dataclass
class Reader:
    """Reads policies into a draft; ``scopes`` are all scopes, ``refused`` those whose last reading failed.

    ``assigned`` contains the assigned identities, if they are given; otherwise those that the session knows are used.
    """

    session: Session
    scopes: tuple[Scope, ...]
    assigned: tuple[Identity, ...] | None = None
    refused: dict[Scope, KqlmiError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.asks_assigned = self._may_ask

    @property
    def _may_ask(self) -> bool:
        return self.assigned is None and self.session.resource is not None

    @property
    def directory(self) -> Directory:
        """Return the identities that are known so far."""
        known = self.session.known.directory
        return known if self.assigned is None else known.assigning(self.assigned)

    @property
    def names(self) -> Mapping[str, str]:
        """Return the display names that are known so far by identity."""
        return self.directory.names

    def identity(self, text: str) -> ObjectId:
        """Return the identity with an object ID, client ID or name; the session looks up one that is not known yet.

        Raises:
            PolicyError: No identity with that name is known.
            InputError: Several identities have the name.
        """
        known = self.directory
        if one := known.named(text):
            return one.object_id
        try:
            return known.key(object_id(text))
        except PolicyError as error:
            try:
                return self.directory.key(self.session.identity(text))
            except InputError as unknown:
                if self.directory.find(text):
                    raise
                raise PolicyError(error.message, hint=unknown.hint) from error

    def read(self, draft: Draft, scopes: Iterable[Scope], own: Iterable[Change] = ()) -> tuple[Draft, list[str]]:
        """Read policies; return the draft over them, and one line for each change by others since the last reading.

        ``own`` contains changes that are not by others.
        """
        reading = self.session.read(scopes)
        for scope in reading.snapshot.policies:
            self.refused.pop(scope, None)
        self.refused.update(reading.refused)
        return draft.rebase(reading.snapshot, self.directory), self.foreign(draft.read, reading.snapshot, own)

    def read_again(
        self, draft: Draft, own: Iterable[Change] = (), more: Iterable[Scope] = ()
    ) -> tuple[Draft, list[str]]:
        """Read the policies that are shown or have ticks again, and ``more``.

        Raises:
            KqlmiError: A policy that has ticks can no longer be read.
        """
        scopes = dict.fromkeys((Scope.cluster(), draft.scope, *draft.scopes, *self._keeping(draft), *more))
        draft, others = self.read(draft, (scope for scope in scopes if scope in draft.read.policies), own)
        for scope in draft.scopes:
            if scope in self.refused:
                raise self.refused[scope]
        return draft, others

    def read_assigned(self) -> str:
        """Read the assigned identities; return why they are not known, or an empty string."""
        self.asks_assigned = False
        try:
            self.session.assigned()
        except KqlmiError as error:
            self.session.know(self.session.known.directory.unsure_of_assigned())
            return f"Orphans cannot be determined. {error}"
        return ""

    def read_next(self, draft: Draft) -> Draft:
        """Read the policies of the next few unread scopes."""
        draft, _ = self.read(draft, self.next(draft))
        # If policies list several system identities, only Azure Resource Manager knows which one is current.
        known = self.session.known.directory
        self.asks_assigned = self._may_ask and known.assigned is not None and len(known.systems) > 1
        return draft

    def next(self, draft: Draft) -> list[Scope]:
        """Return the next few unread scopes."""
        known = {*draft.read.policies, *self.refused}
        return [scope for scope in self.scopes if scope not in known][:_BATCH]

    def unread(self, snapshot: Snapshot) -> int:
        """Return how many databases are missing in a snapshot, or could not be read the last time."""
        return sum(scope not in snapshot.policies or scope in self.refused for scope in self.scopes[1:])

    def foreign(self, before: Snapshot, now: Snapshot, own: Iterable[Change] = ()) -> list[str]:
        """Return one line for each change by others between two readings."""
        before = before.marking(now.earlier)
        read = {scope: policy for scope, policy in now.policies.items() if scope in before.policies}
        mine = {(one.kind, one.scope, one.identity, one.usage) for one in own}
        changes = diff(before, Snapshot(read))
        foreign = [one for one in changes if (one.kind, one.scope, one.identity, one.usage) not in mine]
        changed = {one.scope for one in changes}
        same = (scope for scope in read if read[scope] != before.policies[scope] and scope not in changed)
        lines = [words.change(one, self.names) for one in foreign]
        return lines + [f"The policy of the {scope} was rewritten with the same grants." for scope in same]

    @staticmethod
    def _keeping(draft: Draft) -> Iterable[Scope]:
        """Return the databases that were read and in which a usage stays allowed after a revoke at the cluster."""
        gone = [(one.identity, one.usage) for one in draft.changes if one.kind == "revoke" and one.scope.is_cluster]
        return (
            scope
            for scope in draft.read.policies
            if not scope.is_cluster
            and any(not draft.read.usages_of(scope, identity).isdisjoint({usage, ALL}) for identity, usage in gone)
        )
