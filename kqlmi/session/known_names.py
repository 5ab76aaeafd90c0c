"""The names that a session knows, which can be offered while somebody types without asking the cluster."""

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
    """Databases, the directory of identities, and the usages that policies hold.

    ``pretty`` has the pretty names of databases by their names, ``following`` the databases that follow a leader.
    """

    databases: tuple[str, ...] = ()
    directory: Directory = field(default_factory=Directory)
    usages: tuple[str, ...] = ()
    pretty: Mapping[str, str] = field(default_factory=dict)
    following: frozenset[Scope] = frozenset()

    def with_databases(self, answer: Table) -> Self:
        """Return what is known once ``.show databases`` was answered."""
        names = databases.names(answer)
        pretty = answer.column("PrettyName") if answer.has("PrettyName") else ()
        return replace(
            self,
            databases=names,
            pretty={name: str(one) for name, one in zip(names, pretty, strict=False) if one},
            following=databases.following(answer),
        )

    def matching(self, pattern: str) -> tuple[str, ...]:
        """Return the database of that name or pretty name, or else those that match it as a glob, without letter case."""
        if (named := self.database(pattern)) in self.databases:
            return (named,)
        wanted = database_key(pattern)
        return tuple(name for name in self.databases if fnmatch.fnmatchcase(database_key(name), wanted))

    def database(self, name: str) -> str:
        """Return the database that a name or a pretty name names, in its own spelling; the text itself if none is known."""
        wanted = database_key(name)
        names = {database_key(one): one for one in self.databases}
        called = [one for one, pretty in self.pretty.items() if database_key(pretty) == wanted]
        return names.get(wanted) or (called[0] if len(called) == 1 else name)

    def label(self, scope: Scope) -> str:
        """Return a scope for people: with the pretty name of a database beside its name."""
        pretty = printable(self.pretty.get(scope.name or "", ""))
        return f"{scope} ({pretty})" if pretty else str(scope)

    def with_policies(self, found: Snapshot) -> Self:
        """Return what is known once policies were read as well."""
        new = sorted(found.usages.difference(self.usages))
        return replace(self, directory=self.directory.reading(found), usages=(*self.usages, *new))
