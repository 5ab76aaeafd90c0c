"""The subcommands of ``%kqlmi``: one function each, whose docstring is its help."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kqlmi.errors import CellError, NotConnectedError
from kqlmi.model.entities import Scope, did_you_mean
from kqlmi.model.quoting import printable
from kqlmi.model.usages import USAGES
from kqlmi.model.workflows import WORKFLOWS
from kqlmi.notebook.display import policy_frame
from kqlmi.notebook.invocation import parse_words, split
from kqlmi.session import Session, connect

_MANY = 8


@dataclass(slots=True)
class Sessions:
    """The sessions of a notebook by name; ``current`` is the one that was connected last."""

    by_name: dict[str, Session] = field(default_factory=dict)
    current: str = ""

    def get(self, name: str = "") -> Session:
        """Give a session by name, or the current one; NotConnectedError if there is none."""
        if not self.by_name:
            raise NotConnectedError(
                "No cluster is connected.",
                hint="Type %kqlmi connect local, or %kqlmi connect https://<cluster>.<region>.kusto.windows.net",
            )
        if name and name not in self.by_name:
            raise NotConnectedError(f"There is no connection {name!r}.", hint=did_you_mean(name, self.by_name))
        return self.by_name[name or self.current]

    def add(self, session: Session) -> None:
        """Keep a session and make it the current one; one of the same name is closed."""
        if old := self.by_name.pop(session.name, None):
            old.close()
        self.by_name[session.name], self.current = session, session.name

    def close(self) -> None:
        """Close every session."""
        while self.by_name:
            self.by_name.popitem()[1].close()


@dataclass(frozen=True, slots=True)
class Context:
    """What a subcommand works with: the notebook's sessions, and the name that ``--on`` gave."""

    sessions: Sessions
    on: str = ""

    @property
    def session(self) -> Session:
        """Give the session to work on."""
        return self.sessions.get(self.on)


@dataclass(frozen=True, slots=True)
class Subcommand:
    """A function of this module as a subcommand: its parameters are the words and options of the line."""

    run: Callable[..., Any]

    @property
    def name(self) -> str:
        """Give the word to type: the function's name without the underscore that keeps it off a builtin."""
        return self.run.__name__.rstrip("_")

    @property
    def parameters(self) -> list[inspect.Parameter]:
        """Give the parameters behind the context."""
        return list(inspect.signature(self.run).parameters.values())[1:]

    @property
    def options(self) -> dict[str, bool]:
        """Give the names of the options, each with whether it takes a value."""
        own = {_option(p): p.annotation is not bool for p in self.parameters if p.kind is p.KEYWORD_ONLY}
        return {**own, "on": True, "help": False}

    @property
    def usage(self) -> str:
        """Give the line to type."""
        parts = [f"%kqlmi {self.name}"]
        for p in self.parameters:
            if p.kind is p.KEYWORD_ONLY:
                parts.append(f"[--{_option(p)}{'' if p.annotation is bool else ' ' + p.name.upper()}]")
            else:
                name = p.name.upper() + ("…" if p.kind is p.VAR_POSITIONAL else "")
                parts.append(name if p.default is p.empty and p.kind is not p.VAR_POSITIONAL else f"[{name}]")
        return " ".join(parts)

    @property
    def summary(self) -> str:
        """Give the first line of the help."""
        return self.help.splitlines()[0]

    @property
    def help(self) -> str:
        """Give the docstring."""
        return inspect.getdoc(self.run) or ""


SUBCOMMANDS: dict[str, Subcommand] = {}


def subcommand(function: Callable[..., Any]) -> Callable[..., Any]:
    """Register a function under its name."""
    row = Subcommand(function)
    SUBCOMMANDS[row.name] = row
    return function


def run(sessions: Sessions, line: str) -> Any:
    """Carry out a ``%kqlmi`` line and give its result, None where it only prints."""
    words = split(line)
    name = words[0] if words else "help"
    name = "help" if name == "--help" else name
    if name not in SUBCOMMANDS:
        if name.startswith("."):
            raise CellError(
                "A command stands in a cell of its own.", hint=f"Begin the cell with %%kqlmi, then {name} …"
            )
        raise CellError(f"There is no subcommand {name!r}.", hint=did_you_mean(name, SUBCOMMANDS))
    found = SUBCOMMANDS[name]
    parsed = parse_words(words[1:], found.options)
    options = {key.replace("-", "_"): value for key, value in parsed.options.items()}
    if options.pop("help", False):
        return SUBCOMMANDS["help"].run(Context(sessions), name)
    context = Context(sessions, str(options.pop("on", "")))
    try:
        inspect.signature(found.run).bind(context, *parsed.positional, **options)
    except TypeError:
        raise CellError(f"That is not how {name} is written.", hint=f"Write {found.usage}") from None
    return found.run(context, *parsed.positional, **options)


def _option(parameter: inspect.Parameter) -> str:
    return parameter.name.replace("_", "-")


@subcommand
def connect_(
    context: Context,
    cluster: str,
    /,
    *,
    database: str = "",
    auth: str = "default",
    name: str = "",
    read_only: bool = False,
) -> None:
    """Connect to a cluster, by its URL, or to local.

    --database sets the database in context. --auth is one of default, interactive, device-code, azure-cli,
    managed-identity, service-principal (its secret comes from AZURE_CLIENT_SECRET), token (from KQLMI_TOKEN) and
    none. --name gives the connection a name for --on. --read-only refuses changes.
    """
    session = connect(cluster, database=database, auth=auth, name=name, read_only=read_only)
    try:
        names = session.databases()
        if database:
            session.database = session.database_scope(database).name or ""
    except BaseException:
        session.close()
        raise
    context.sessions.add(session)
    shown = ", ".join(map(printable, names)) if len(names) <= _MANY else f"{len(names)} of them"
    print(
        f"Connected to {session.name}{' (read-only)' if read_only else ''}. Databases: {shown or 'none that you may see'}."
    )
    if session.database:
        print(f"Commands run in the database {printable(session.database)}.")


@subcommand
def show(context: Context, /, *, database: str = "", cluster: bool = False) -> Any:
    """Show who may do what: one row for each identity of each policy.

    --database D (a name or a glob) shows the databases that match, --cluster the cluster's policy; neither shows all.
    """
    session = context.session
    scopes = [Scope.cluster()] if cluster or not database else []
    if database or not cluster:
        scopes += map(Scope.database, session.databases(database or "*"))
    if not scopes:
        session.database_scope(database)
    reading = session.read(scopes)
    for scope, error in reading.refused.items():
        print(f"Not read: the policy of the {scope}. {error}")
    return policy_frame(reading.snapshot)


@subcommand
def panel(context: Context, /, *, database: str = "") -> Any:
    """Open the panel: tick which workflows each identity may use, preview the change, execute it.

    --database D opens it on a database; otherwise it opens on the database in context, or on the cluster.
    """
    from kqlmi.notebook.panel import Panel

    session = context.session
    name = database or session.database
    return Panel(session, session.database_scope(name) if name else Scope.cluster())


@subcommand
def usages(_context: Context, /) -> Any:
    """List the usages that a policy can allow, each with the workflows that it opens."""
    import pandas as pd

    rows = [
        (
            usage.name,
            usage.summary,
            "cluster only" if usage.cluster_only else "cluster or database",
            [row.title for row in WORKFLOWS if row.usage == usage.name],
        )
        for usage in USAGES
    ]
    return pd.DataFrame(rows, columns=["usage", "summary", "scope", "workflows"])


@subcommand
def workflows(_context: Context, /, *words: str) -> Any:
    """List the workflows that take a managed identity: usage, scope, how the identity is written, an example.

    Words narrow the list: %kqlmi workflows continuous export. The column sure tells documented from inferred.
    """
    import pandas as pd

    wanted = [word.casefold() for word in words]
    rows = [
        (
            row.title,
            row.usage,
            row.sure,
            "cluster only" if row.cluster_only else "cluster or database",
            row.identity,
            row.kusto,
            row.external,
            row.note,
            row.example,
        )
        for row in WORKFLOWS
        if all(word in f"{row.id} {row.title} {row.usage}".casefold() for word in wanted)
    ]
    names = ["workflow", "usage", "sure", "scope", "identity", "kusto_role", "external_role", "note", "example"]
    return pd.DataFrame(rows, columns=names)


@subcommand
def help_(_context: Context, name: str = "", /) -> None:
    """List the subcommands, or explain one."""
    if name:
        if name not in SUBCOMMANDS:
            raise CellError(f"There is no subcommand {name!r}.", hint=did_you_mean(name, SUBCOMMANDS))
        print(f"{SUBCOMMANDS[name].usage}\n\n{SUBCOMMANDS[name].help}")
        return
    print(CELL_HELP)
    width = max(map(len, SUBCOMMANDS))
    for key, row in SUBCOMMANDS.items():
        print(f"%kqlmi {key.ljust(width)}  {row.summary}")


CELL_HELP = """\
%%kqlmi [name <<] [--database D] [--on N] [--raw]
    Run the cell: ONE command or query, sent as it is typed. The result is a pandas DataFrame, kept in name.
    A policy command gives one row for each identity; --raw gives the service's own row.
"""
