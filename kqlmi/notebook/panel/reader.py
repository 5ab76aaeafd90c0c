"""What a panel reads of a cluster: the policies of its scopes, and what others changed in them meanwhile."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from kqlmi.errors import KqlmiError
from kqlmi.model.entities import ALL, Identity, Scope
from kqlmi.model.plan.draft import Draft
from kqlmi.model.policy.diff import Change, diff
from kqlmi.model.policy.directory import Directory
from kqlmi.model.policy.policy import Snapshot
from kqlmi.notebook.panel import words
from kqlmi.session import Session

_BATCH: Final = 8


@dataclass
class Reader:
    """Reads policies into a draft; ``scopes`` are all that there are, ``refused`` those that could not be read last.

    ``assigned`` are the assigned identities, where they were given; otherwise what the session knows of them counts.
    """

    session: Session
    scopes: tuple[Scope, ...]
    assigned: tuple[Identity, ...] | None = None
    refused: dict[Scope, KqlmiError] = field(default_factory=dict)

    @property
    def directory(self) -> Directory:
        """Return who is who by now."""
        known = self.session.met.directory
        return known if self.assigned is None else known.assigning(self.assigned)

    @property
    def names(self) -> Mapping[str, str]:
        """Return the display names that are known so far, by identity."""
        return self.directory.names

    def read(self, draft: Draft, scopes: Iterable[Scope], own: Iterable[Change] = ()) -> tuple[Draft, list[str]]:
        """Give a draft over policies that are read now, and, a line each, what others changed since they were read before.

        ``own`` are changes that are not another's.
        """
        reading = self.session.read(scopes)
        for scope in reading.snapshot.policies:
            self.refused.pop(scope, None)
        self.refused.update(reading.refused)
        return draft.rebase(reading.snapshot, self.directory), self.foreign(draft.read, reading.snapshot, own)

    def read_again(
        self, draft: Draft, own: Iterable[Change] = (), more: Iterable[Scope] = ()
    ) -> tuple[Draft, list[str]]:
        """Read again what is shown, what the ticks stand on, and ``more``.

        Raises:
            KqlmiError: A policy that has ticks cannot be read any more.
        """
        scopes = dict.fromkeys((Scope.cluster(), draft.scope, *draft.scopes, *self._keeping(draft), *more))
        draft, others = self.read(draft, (scope for scope in scopes if scope in draft.read.policies), own)
        for scope in draft.scopes:
            if scope in self.refused:
                raise self.refused[scope]
        return draft, others

    def next(self, draft: Draft) -> list[Scope]:
        """Give the next few scopes that were not read."""
        known = {*draft.read.policies, *self.refused}
        return [scope for scope in self.scopes if scope not in known][:_BATCH]

    def unread(self, snapshot: Snapshot) -> int:
        """Give how many databases are not in a snapshot, or could not be read last."""
        return sum(scope not in snapshot.policies or scope in self.refused for scope in self.scopes[1:])

    def foreign(self, before: Snapshot, now: Snapshot, own: Iterable[Change] = ()) -> list[str]:
        """Tell what others changed between two readings, a line each."""
        before = before.marking(now.earlier)
        read = {scope: policy for scope, policy in now.policies.items() if scope in before.policies}
        mine = {(one.kind, one.scope, one.identity, one.usage) for one in own}
        changes = diff(before, Snapshot(read))
        told = [
            words.change(one, self.names)
            for one in changes
            if (one.kind, one.scope, one.identity, one.usage) not in mine
        ]
        changed = {one.scope for one in changes}
        same = (scope for scope in read if read[scope] != before.policies[scope] and scope not in changed)
        return told + [f"The policy of the {scope} was written anew, with the same grants." for scope in same]

    @staticmethod
    def _keeping(draft: Draft) -> Iterable[Scope]:
        """Give the databases in which a revoke at the cluster would leave a usage allowed, as far as was read."""
        gone = [(one.identity, one.usage) for one in draft.changes if one.kind == "revoke" and one.scope.is_cluster]
        return (
            scope
            for scope in draft.read.policies
            if not scope.is_cluster
            and any(not draft.read.held(scope, identity).isdisjoint({usage, ALL}) for identity, usage in gone)
        )
