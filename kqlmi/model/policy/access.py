"""Effective access: what the policies of the cluster and a database together allow, and why."""

from dataclasses import dataclass
from typing import Final, Literal, Protocol

from kqlmi.model.entities import ALL, SYSTEM, Scope, known_usage, usage_name
from kqlmi.model.policy.policy import Snapshot
from kqlmi.report import Described, Report

Effect = Literal["effective", "redundant", "without effect"]
EARLIER: Final = "it is an earlier system identity of the cluster and is no longer assigned"


class Granting(Protocol):
    """A source of grants by scope: a snapshot or a draft."""

    def granted(self, scope: Scope, identity: str, usage: str) -> bool:
        """Check whether the policy of a scope grants a usage to an identity."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class Access(Described):
    """The effective access of an identity to a usage; ``allowed`` is None if it depends on a policy that was not read."""

    allowed: bool | None
    reason: str

    def report(self) -> Report:
        """Return whether the usage is allowed, with the reason."""
        return Report(
            "Not known" if self.allowed is None else "Allowed" if self.allowed else "Not allowed", self.reason
        )


def without_effect(scope: Scope, usage: str) -> bool:
    """Check whether a grant of ``usage`` has no effect at ``scope``: a cluster-only usage in a database's policy."""
    known = known_usage(usage)
    return not scope.is_cluster and known is not None and known.cluster_only


def effect(snapshot: Granting, scope: Scope, identity: str, usage: str) -> Effect:
    """Return what a grant at ``scope`` adds to the other grants of ``snapshot``."""
    if without_effect(scope, usage):
        return "without effect"
    return "redundant" if covered_by(snapshot, scope, identity, usage) else "effective"


def covered_by(snapshot: Granting, scope: Scope, identity: str, usage: str) -> tuple[tuple[Scope, str], ...]:
    """Return the grants, as (scope, usage), that allow ``usage`` at ``scope`` without a grant of it there."""
    # Only the cluster's policy allows a cluster-only usage, for every database.
    candidates = [(scope, ALL)] if usage != ALL and not without_effect(scope, usage) else []
    if not scope.is_cluster:
        candidates += [(Scope.cluster(), name) for name in dict.fromkeys((usage, ALL))]
    return tuple((where, name) for where, name in candidates if snapshot.granted(where, identity, name))


def covered_by_cluster(snapshot: Snapshot, scope: Scope, identity: str, usage: str) -> str:
    """Return the cluster's usage that makes a database grant redundant, or an empty string; the cluster itself has none."""
    covers = () if scope.is_cluster or without_effect(scope, usage) else covered_by(snapshot, scope, identity, usage)
    return next((name for where, name in covers if where.is_cluster), "")


def access(snapshot: Snapshot, identity: str, usage: str, scope: Scope) -> Access:
    """Check whether ``identity`` may be used for ``usage`` in ``scope``, by the documented rule: the policies add up.

    A grant to an earlier system identity allows nothing.
    """
    usage = usage_name(usage)
    if identity in snapshot.earlier:
        return Access(allowed=False, reason=EARLIER)
    where = (Scope.cluster(),) if without_effect(scope, usage) else tuple(dict.fromkeys((scope, Scope.cluster())))
    deciding = [(place, name) for place in where for name in dict.fromkeys((usage, ALL))]
    found = [
        f"the policy of the {place} grants {name}" + (f", which covers {usage}" if name != usage else "")
        for place, name in deciding
        if snapshot.granted(place, identity, name)
    ]
    if found:
        return Access(allowed=True, reason="; ".join(found))
    unread = [place for place in where if place not in snapshot.policies]
    if unread:
        return Access(allowed=None, reason=" and ".join(f"the policy of the {place} was not read" for place in unread))
    reason = " and ".join(f"the policy of the {place} does not grant it" for place in where)
    earlier = {
        holder for place, name in deciding for holder in snapshot.earlier if snapshot.granted(place, holder, name)
    }
    if identity == SYSTEM and earlier:
        reason += f"; grants to an earlier system identity ({', '.join(sorted(earlier))}) have no effect"
    if without_effect(scope, usage):
        reason += f"; {usage} has an effect only in the cluster's policy"
    return Access(allowed=False, reason=reason)
