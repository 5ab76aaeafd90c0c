"""The names that a session knows, for completion without a request."""

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from kqlmi.cluster import databases
from kqlmi.cluster.protocol.table import Table
from kqlmi.errors import printable
from kqlmi.model.entities import Scope, database_key
from kqlmi.model.policy.directory import Directory
from kqlmi.model.policy.policy import Snapshot


@dataclass(frozen=True, slots=True)
class KnownNames:
    """The databases, the directory of identities, and the usages in policies.

    ``pretty`` maps databases to their pretty names, and ``following`` contains the follower databases.
    """

    databases: tuple[str, ...] = ()
    directory: Directory = field(default_factory=Directory)
    usages: tuple[str, ...] = ()
    pretty: Mapping[str, str] = field(default_factory=dict)
    following: frozenset[Scope] = frozenset()

    def with_databases(self, answer: Table) -> Self:
        """Return the names with the databases in a response to ``.show databases``."""
        names = databases.names(answer)
        pretty = answer.column("PrettyName") if answer.has("PrettyName") else ()
        return replace(
            self,
            databases=names,
            pretty={name: str(one) for name, one in zip(names, pretty, strict=False) if one},
            following=databases.following(answer),
        )

    def matching(self, pattern: str) -> tuple[str, ...]:
        """Return the database with that name or pretty name, or else the databases that match a glob, ignoring case."""
        if (named := self.database(pattern)) in self.databases:
            return (named,)
        wanted = database_key(pattern)
        return tuple(name for name in self.databases if fnmatch.fnmatchcase(database_key(name), wanted))

    def database(self, name: str) -> str:
        """Return the database with a name or pretty name, spelled as on the cluster, or ``name`` itself if there is none."""
        wanted = database_key(name)
        names = {database_key(one): one for one in self.databases}
        called = self.called(name)
        return names.get(wanted) or (called[0] if len(called) == 1 else name)

    def called(self, pretty: str) -> tuple[str, ...]:
        """Return the databases with a pretty name, which need not be unique."""
        wanted = database_key(pretty)
        return tuple(name for name, one in self.pretty.items() if database_key(one) == wanted)

    def label(self, scope: Scope) -> str:
        """Return a scope for display: a database with its pretty name, if it has one."""
        pretty = printable(self.pretty.get(scope.name or "", ""))
        return f"{scope} ({pretty})" if pretty else str(scope)

    def with_policies(self, found: Snapshot) -> Self:
        """Return the names with the identities and usages in policies that were read."""
        new = sorted(found.usages.difference(self.usages))
        return replace(self, directory=self.directory.reading(found), usages=(*self.usages, *new))
