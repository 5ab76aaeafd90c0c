"""The registry of the subcommands of ``%kqlmi``: a function each, whose docstring is its help."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, get_origin

from kqlmi.errors import CellError, NotConnectedError
from kqlmi.model.entities import did_you_mean
from kqlmi.notebook.invocation import Kind, parse_words, split
from kqlmi.notebook.panel.open_panels import OpenPanels
from kqlmi.notebook.settings import KqlMI
from kqlmi.session import MODES, Session
from kqlmi.verbs.parameters import ConnectionName, Values, values_of


@dataclass(slots=True)
class Sessions:
    """The sessions of a notebook by name, and the panels on them; ``current`` is the one that was connected last."""

    by_name: dict[str, Session] = field(default_factory=dict)
    current: str = ""
    panels: OpenPanels = field(default_factory=OpenPanels)

    def get(self, name: str = "") -> Session:
        """Return a session by name, or the current one; NotConnectedError if there is none."""
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
    """What a subcommand works with: the notebook's sessions and settings, and the name that ``--on`` gave."""

    sessions: Sessions
    settings: KqlMI
    on: str = ""

    @property
    def session(self) -> Session:
        """Return the session to work on."""
        return self.sessions.get(self.on)


@dataclass(frozen=True, slots=True)
class Subcommand:
    """A function of this module as a subcommand: its parameters are the words and options of the line.

    ``more`` are options that the function takes as ``**fields``, and ``about`` tells more of a first word in the help.
    """

    run: Callable[..., Any]
    more: tuple[str, ...] = ()
    about: Callable[[str], str] = lambda _word: ""

    @property
    def name(self) -> str:
        """Return the word to type: the function's name without the underscore that keeps it off a builtin."""
        return self.run.__name__.rstrip("_")

    @property
    def parameters(self) -> list[inspect.Parameter]:
        """Return the parameters behind the context, without the one that takes ``more``."""
        found = list(inspect.signature(self.run).parameters.values())[1:]
        return [p for p in found if p.kind is not p.VAR_KEYWORD]

    @property
    def _own_options(self) -> list[inspect.Parameter]:
        return [p for p in self.parameters if p.kind is p.KEYWORD_ONLY]

    @property
    def values(self) -> dict[str, Values]:
        """Return the names of the options, without ``more``, each with the values that fit."""
        return {_option(p): values_of(p.annotation) for p in self._own_options} | {"on": values_of(ConnectionName)}

    @property
    def options(self) -> dict[str, Kind]:
        """Return the names of the options, each with what it takes."""
        kinds: dict[object, Kind] = {bool: "flag", tuple: "values"}
        own = {_option(p): kinds.get(get_origin(p.annotation) or p.annotation, "value") for p in self._own_options}
        return {**own, **dict.fromkeys(self.more, "value"), "on": "value", "help": "flag"}

    @property
    def usage(self) -> str:
        """Return the line to type."""
        parts = [f"%kqlmi {self.name}"]
        for p in self.parameters:
            if p.kind is p.KEYWORD_ONLY:
                option = f"--{_option(p)}" + ("" if p.annotation is bool else f" {_option(p).upper()}")
                parts.append(option if p.default is p.empty else f"[{option}]")
            else:
                name = p.name.upper() + ("…" if p.kind is p.VAR_POSITIONAL else "")
                parts.append(name if p.default is p.empty and p.kind is not p.VAR_POSITIONAL else f"[{name}]")
        return " ".join([*parts, *(["[--OPTION VALUE]…"] if self.more else [])])

    @property
    def summary(self) -> str:
        """Return the first line of the help."""
        return self.help.splitlines()[0]

    @property
    def help(self) -> str:
        """Return the docstring, with the ways to sign in that there are."""
        return (inspect.getdoc(self.run) or "").replace("{modes}", ", ".join(MODES))


SUBCOMMANDS: dict[str, Subcommand] = {}


def subcommand(
    function: Callable[..., Any], *, more: tuple[str, ...] = (), about: Callable[[str], str] = lambda _word: ""
) -> Callable[..., Any]:
    """Register a function that takes ``more`` options as ``**fields``; ``about`` adds to the help of a first word."""
    row = Subcommand(function, more, about)
    SUBCOMMANDS[row.name] = row
    return function


def run(sessions: Sessions, line: str, settings: KqlMI) -> Any:
    """Run a ``%kqlmi`` line and return its result, None where it only prints."""
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
    options = dict(parsed.options)
    if options.pop("help", False):
        return SUBCOMMANDS["help"].run(Context(sessions, settings), name, *parsed.positional[:1])
    context = Context(sessions, settings, str(options.pop("on", "")))
    names = {option: option.replace("-", "_") for option in found.more}
    names |= {_option(parameter): parameter.name for parameter in found.parameters}
    try:
        bound = inspect.signature(found.run).bind(
            context, *parsed.positional, **{names[option]: value for option, value in options.items()}
        )
    except TypeError:
        raise CellError(f"That is not how {name} is written.", hint=f"Write {found.usage}") from None
    return found.run(*bound.args, **bound.kwargs)


def _option(parameter: inspect.Parameter) -> str:
    return parameter.name.rstrip("_").replace("_", "-")


CELL_HELP = """\
%%kqlmi [name <<] [check] [--database D] [--on N] [--raw]
    Run the cell: ONE command or query, sent as it is typed. The result is a pandas DataFrame, kept in name.
    A policy command gives one row for each identity; --raw gives the service's own row.
    check sends nothing of the cell: it tells for each identity that it uses whether that would be allowed, and why.
"""
