"""The registry of verbs: each is a function whose signature is its syntax and whose docstring is its help."""

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, TypeVar

from kqlmi.errors import CellError
from kqlmi.fanout import Progress, unseen
from kqlmi.model.entities import did_you_mean
from kqlmi.model.plan.plan import Plan
from kqlmi.session import MODES, Session
from kqlmi.verbs.arguments import Syntax, is_near
from kqlmi.verbs.sessions import Sessions

Function = TypeVar("Function", bound=Callable[..., Any])
Run = Callable[["Context"], Any]
"""Runs a verb with the words and options of a line, and returns its value."""

# The order of the tasks in the help.
_TASKS: Final = (
    "Connect",
    "See who may do what",
    "Change it",
    "Find what is wrong",
    "Use an identity",
    "Look things up",
    "Other",
)
# The words that begin a query without a pipe.
_QUERIES: Final = frozenset({"datatable", "declare", "find", "let", "print", "range", "search", "set", "union"})


def _refused(_session: Session, plan: Plan) -> NoReturn:
    raise CellError(f"Plan {plan.short} was not shown.")


@dataclass(frozen=True, slots=True)
class Context:
    """The context in which a verb runs: its sessions, and the callbacks that show something before it returns.

    ``note`` shows a sentence at once. ``show`` shows a value and returns the result of the face. ``progress`` shows how much
    has been read, ``waited`` the seconds waited and their maximum. ``permit`` raises if a plan must not be applied because
    the user has not seen it or not agreed to it. Connections are opened with ``timeout`` and ``read_only``.
    """

    face: "Face"
    sessions: Sessions
    on: str = ""
    note: Callable[[str], None] = lambda _text: None
    show: Callable[[object], Any] = lambda _value: None
    progress: Progress = unseen
    waited: Callable[[float, float], None] = lambda _seconds, _at_most: None
    permit: Callable[[Session, Plan], None] = _refused
    timeout: float | None = None
    read_only: bool = False

    @property
    def session(self) -> Session:
        """Return the session that the verb works on."""
        return self.sessions.get(self.on)


@dataclass(frozen=True, slots=True)
class Verb:
    """A function whose parameters after the context are the words and options of a line.

    It is available in ``faces``, and the help lists it under its ``task``. A verb that is ``apart`` does not use a
    connection. ``more`` returns the additional options for the words typed so far, which the function takes as
    ``**fields``; ``about`` returns the help on a first word.
    """

    run: Callable[..., Any]
    faces: Collection[str] = ("notebook",)
    apart: bool = False
    more: Callable[[Sequence[str]], Iterable[inspect.Parameter]] = lambda _words: ()
    about: Callable[[str], str] | None = None
    task: str = "Other"

    @property
    def name(self) -> str:
        """Return the name to type: the function's, without the underscore that avoids a builtin name."""
        return self.run.__name__.rstrip("_").replace("_", " ")

    @property
    def parameters(self) -> Iterator[inspect.Parameter]:
        """Yield the parameters after the context, without the ``**fields`` for ``more``."""
        return (p for p in [*inspect.signature(self.run).parameters.values()][1:] if p.kind is not p.VAR_KEYWORD)

    @property
    def summary(self) -> str:
        """Return the first line of the help."""
        return _docstring(self.run).splitlines()[0]


VERBS: dict[str, Verb] = {}


def verb(**traits: Any) -> Callable[[Function], Function]:
    """Register a function as a verb; ``traits`` are fields of ``Verb``."""

    def register(function: Function) -> Function:
        row = Verb(function, **traits)
        VERBS[row.name] = row
        return function

    return register


@dataclass(frozen=True, slots=True)
class Face:
    """A front end, the notebook or the shell: its verbs, the options that it adds to them, and how it shows their values.

    ``name`` is ``notebook`` or ``shell``. ``prompt`` precedes a verb; ``before`` and ``after`` surround the help.
    ``common`` builds the context; its keyword parameters become options of every verb that uses a connection. ``rows``
    maps a verb's name to the function that runs the verb and displays its result; that function's keyword parameters
    become extra options of the verb.
    """

    name: str
    prompt: str
    common: Callable[..., Context]
    before: str = ""
    after: str = ""
    rows: dict[str, Callable[..., Any]] = field(default_factory=dict)

    def shows(self, function: Function) -> Function:
        """Register the function that shows the value of the verb of the same name."""
        self.rows[function.__name__.strip("_")] = function
        return function

    @property
    def verbs(self) -> Mapping[str, Verb]:
        """Return the verbs of this face by name."""
        return {name: one for name, one in VERBS.items() if self.name in one.faces}

    def syntax(self, verb: Verb, words: Sequence[str] = ()) -> Syntax:
        """Return the syntax of a verb, with the additional options for the ``words`` typed so far."""
        own = (*verb.parameters, *_keywords(self.rows.get(verb.name, _show)))
        common = () if verb.apart else tuple(_keywords(self.common))
        return Syntax(verb.name, own, tuple(verb.more(words)), common, self.prompt)

    def run(self, words: Sequence[str], context: Context) -> Any:
        """Run a line and return the result of showing the verb's value.

        Raises:
            CellError: The line is not valid.
        """
        verb, rest = self._find(words)
        if "--help" in rest[: rest.index("--") if "--" in rest else None]:
            named = [word for word in rest[:1] if not word.startswith("-")]
            verb, rest = VERBS["help"], [*verb.name.split(), *named]
        alone, options = self.syntax(verb, rest).parse(rest)
        row: Callable[..., Any] = self.rows.get(verb.name, _show)
        shown, common = _taken(options, row), {} if verb.apart else _taken(options, self.common)
        return row(self.common(context, **common), lambda ready: verb.run(ready, *alone, **options), **shown)

    def help(self, words: Sequence[str]) -> str:
        """Return the help on the verb that the words begin with, or the list of all verbs."""
        if words:
            verb, rest = self._find(words, 2)
            if rest and verb.about:
                return verb.about(rest[0])
            functions = (verb.run, self.rows.get(verb.name, _show), *(() if verb.apart else (self.common,)))
            texts = map(_docstring, functions)
            return "\n\n".join(filter(None, [self.syntax(verb).usage, *texts, self.after]))
        width = max(map(len, self.verbs))
        tasks = {task: [f"{task}:"] for task in sorted({one.task for one in self.verbs.values()}, key=_TASKS.index)}
        for name, one in self.verbs.items():
            tasks[one.task].append(f"  {self.prompt}{name.ljust(width)}  {one.summary}")
        return "\n\n".join(filter(None, [self.before, *map("\n".join, tasks.values()), self.after]))

    def _find(self, words: Sequence[str], place: int = 1) -> tuple[Verb, Sequence[str]]:
        """Return the verb that the words begin with, and the remaining words; ``place`` is the position of the first."""
        for count in (2, 1):
            if found := self.verbs.get(" ".join(words[:count])):
                return found, words[count:]
        if words[:1] == ["help"]:
            return VERBS["help"], words[1:]
        if not words or "--help" in words[:2]:
            return VERBS["help"], []
        if words[0].startswith("."):
            raise CellError("A line cannot run a command.", hint="Put it in a cell, below a first line %%kqlmi.")
        if words[0] in _QUERIES or any("|" in word for word in words):
            raise CellError("A line cannot run a query.", hint="Put it in a cell, below a first line %%kqlmi.")
        known = is_near(words[0], self.verbs)
        what = f"Unknown subcommand {words[0]!r}." if known else f"Argument {place} is not a known subcommand."
        raise CellError(what, hint=did_you_mean(words[0], self.verbs))


def _show(context: Context, run: Run) -> Any:
    return context.show(run(context))


def _keywords(function: Callable[..., Any]) -> Iterator[inspect.Parameter]:
    return (p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY)


def _taken(options: dict[str, Any], function: Callable[..., Any]) -> dict[str, Any]:
    return {p.name: options.pop(p.name) for p in _keywords(function) if p.name in options}


def _docstring(function: Callable[..., Any]) -> str:
    """Return the docstring, with ``{modes}`` replaced by the sign-in modes."""
    return (inspect.getdoc(function) or "").replace("{modes}", ", ".join(MODES))
