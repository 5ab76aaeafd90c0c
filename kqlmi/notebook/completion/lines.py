"""What fits into a line behind ``%kqlmi``, or into the first line of a cell: read off the registry of subcommands."""

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from kqlmi.model.plan.planfile import FORMATS
from kqlmi.model.templates import FORMS
from kqlmi.model.uses.blobs import EVENT_FORMATS
from kqlmi.model.uses.blobs import FORMATS as DATA_FORMATS
from kqlmi.notebook.completion.offers import (
    NOTHING,
    Candidate,
    Known,
    Names,
    Offers,
    begins,
    choose,
    identity_words,
    usages,
)
from kqlmi.notebook.invocation import ASSIGNMENT, CELL_OPTIONS, Kind, split
from kqlmi.notebook.subcommands.registry import SUBCOMMANDS, Subcommand
from kqlmi.session import MODES

# Words as `split` cuts them; a quote that is not closed reaches to the end.
_WORD: Final = re.compile(r"""(?:"[^"]*"?|'[^']*'?|[^ \t\r\n"'])+""")
_Pairs = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class _Typed:
    """A line up to the cursor: its complete words, the option that waits for a value, and the word being typed."""

    positional: tuple[str, ...]
    said: Mapping[str, str]
    waiting: str
    fragment: str


def complete_line(line: str, known: Known) -> Offers:
    """Give what fits at the end of the text behind ``%kqlmi``."""
    words, fragment = _cut(line)
    if not words:
        return choose(fragment, [*(Candidate(*pair) for pair in _summaries()), Candidate("--help", "option")])
    found = SUBCOMMANDS.get(words[0])
    if found is None:
        return NOTHING
    typed = _read(words[1:], fragment, found.options)
    options = _fitting_options(found, typed)
    values = {**_VALUES, **_OWN_VALUES.get(words[0], {})}
    if typed.fragment.startswith("-"):
        return _value(typed, known, values) or choose(fragment, _options(typed, options))
    return _value(typed, known, values) or _word(typed, found, options, known)


def complete_first_line(line: str, known: Known) -> Offers:
    """Give what fits at the end of the text behind ``%%kqlmi``."""
    words, fragment = _cut(ASSIGNMENT.sub("", line))
    typed = _read(words, fragment, CELL_OPTIONS)
    check = [] if typed.positional else [Candidate("check", "only look at the cell")]
    return _value(typed, known, _VALUES) or choose(fragment, [*check, *_options(typed, CELL_OPTIONS)])


def connection_of(line: str, known: Known) -> Names:
    """Give the names that hold in a cell with this first line: of its connection, with its database in context."""
    words, fragment = _cut(ASSIGNMENT.sub("", line) + " ")
    said = _read(words, fragment, CELL_OPTIONS).said
    names = known.on(said.get("on", ""))
    return replace(names, database=said.get("database") or names.database)


def _cut(line: str) -> tuple[list[str], str]:
    """Cut a line into its complete words, and the one that is being typed, as it stands there."""
    last = [*_WORD.finditer(line)][-1:]
    start = last[0].start() if last and last[0].end() == len(line) else len(line)
    # A quote that is not closed reaches to the end, and so is never split.
    return split(line[:start]), line[start:]


def _read(words: Iterable[str], fragment: str, options: Mapping[str, Kind]) -> _Typed:
    positional, said, waiting = [], dict[str, str](), ""
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if waiting:
            said[waiting], waiting = word, ""
        elif not word.startswith("--"):
            positional.append(word)
        elif equals or options.get(name, "flag") == "flag":
            said[name] = value
        else:
            waiting = name
    return _Typed(tuple(positional), said, waiting, fragment)


def _value(typed: _Typed, known: Known, values: "Mapping[str, _Values]") -> Offers | None:
    """Give the values of an option, if one is being typed: behind the option, or behind its ``=``."""
    name, fragment = typed.waiting, typed.fragment
    if not name:
        option, equals, fragment = fragment.partition("=")
        name = option.removeprefix("--") if equals and option.startswith("--") else ""
    if not name:
        return None
    pairs = values.get(name, _none)(_bare(fragment), typed, known)
    return Offers(fragment, tuple(_written(fragment, pairs)))


def _options(typed: _Typed, options: Mapping[str, Kind]) -> list[Candidate]:
    """Give the options that can still be said."""
    free = [name for name, kind in options.items() if name not in typed.said or kind == "values"]
    return [Candidate(f"--{name}", "option") for name in free]


def _fitting_options(found: Subcommand, typed: _Typed) -> Mapping[str, Kind]:
    """Give the options of a subcommand, without those that the flow which is its first word does not take."""
    form = FORMS.get(typed.positional[0]) if found.more and typed.positional else None
    taken: dict[str, Kind] = {one.option.removeprefix("--"): "value" for one in form.fields} if form else {}
    own = {name: kind for name, kind in found.options.items() if name not in found.more}
    everywhere = {name: own.pop(name) for name in ("on", "help")}
    return {**own, **taken, **everywhere}


def _word(typed: _Typed, found: Subcommand, options: Mapping[str, Kind], known: Known) -> Offers:
    """Give the words for the parameter that is next, and the options where nothing of it is typed yet."""
    alone = [p.name for p in found.parameters if p.kind is p.POSITIONAL_ONLY]
    rest = [p.name for p in found.parameters if p.kind is p.VAR_POSITIONAL]
    [name] = [*alone[len(typed.positional) :], *rest, ""][:1]
    fragment = typed.fragment
    if name == "usages":
        fragment = fragment.rpartition(",")[2]
    candidates = [*_written(fragment, _WORDS.get(name, _none)(_bare(fragment), typed, known))]
    if not typed.fragment:
        candidates += _options(typed, options)
    # A file is IPython's to complete.
    return Offers(fragment, tuple(candidates), alone=name not in {"file", "plan"})


def _bare(fragment: str) -> str:
    """Give a word that is being typed without the quotes around it."""
    return fragment[1:].rstrip(fragment[0]) if fragment[:1] in {'"', "'"} else fragment


def _written(fragment: str, pairs: _Pairs) -> Iterator[Candidate]:
    """Write values as `split` reads them, in the quotes that were opened where that is possible."""
    for value, note in pairs:
        quote = fragment[:1] if fragment[:1] in {'"', "'"} else '"'
        if re.fullmatch(r"""[^\s'"]+""", value) and fragment[:1] != quote:
            yield Candidate(value, note)
        else:
            yield Candidate(f"{quote}{value}{quote}" if quote not in value else shlex.quote(value), note)


def _fitting(fragment: str, pairs: _Pairs) -> _Pairs:
    return [pair for pair in pairs if begins(pair[0], fragment)]


def _none(_fragment: str, _typed: _Typed, _known: Known) -> _Pairs:
    return ()


def _databases(fragment: str, typed: _Typed, known: Known) -> _Pairs:
    names = known.on(typed.said.get("on", "")).databases
    return _fitting(fragment, ((name, "database") for name in names if name.isprintable()))


def _identities(fragment: str, typed: _Typed, known: Known) -> _Pairs:
    return identity_words(known.on(typed.said.get("on", "")), fragment)


def _usages(fragment: str, typed: _Typed, known: Known) -> _Pairs:
    """Give the usages that the words and the commas before do not list."""
    listed = [name for word in (*typed.positional[1:], typed.fragment.rpartition(",")[0]) for name in word.split(",")]
    found = usages(known.on(typed.said.get("on", "")), listed, None)
    return _fitting(fragment, ((one.text, one.note) for one in found))


def _plans(fragment: str, typed: _Typed, known: Known) -> _Pairs:
    return _fitting(fragment, known.on(typed.said.get("on", "")).plans.items())


def _connections(fragment: str, _typed: _Typed, known: Known) -> _Pairs:
    return _fitting(fragment, ((name, "connection") for name in known.connections))


def _clusters(fragment: str, _typed: _Typed, known: Known) -> _Pairs:
    return _fitting(fragment, [("local", ""), *((name, "configured") for name in known.configured)])


def _fixed(*values: str) -> "_Values":
    return lambda fragment, _typed, _known: _fitting(fragment, ((value, "") for value in values))


def _formats(fragment: str, typed: _Typed, _known: Known) -> _Pairs:
    """Return the formats that the flow before takes."""
    form = FORMS.get(typed.positional[0]) if typed.positional else None
    return _fitting(fragment, ((one, "") for field in (form.fields if form else ()) for one in field.choices))


def _flows(fragment: str, _typed: _Typed, _known: Known) -> _Pairs:
    return _fitting(fragment, ((flow, form.workflow.title) for flow, form in FORMS.items()))


def _subcommands(fragment: str, _typed: _Typed, _known: Known) -> _Pairs:
    return _fitting(fragment, _summaries())


def _summaries() -> _Pairs:
    """Give the subcommands, each with the first clause of its help: a list at the cursor is narrow."""
    return [(row.name, re.split("[:,.]", row.summary)[0]) for row in SUBCOMMANDS.values()]


_Values = Callable[[str, _Typed, Known], _Pairs]
# What stands for a parameter, by the name that every subcommand gives it.
_WORDS: Final[Mapping[str, _Values]] = {
    "cluster": _clusters,
    "connection": _connections,
    "file": _plans,
    "flow": _flows,
    "identity": _identities,
    "into": _fixed("into"),
    "name": _subcommands,
    "plan": _plans,
    "usage": _usages,
    "usages": _usages,
}
_VALUES: Final[Mapping[str, _Values]] = {
    "auth": _fixed(*MODES),
    "database": _databases,
    "identity": _identities,
    "on": _connections,
    "with": _identities,
}
# Options that mean something else in each subcommand.
_OWN_VALUES: Final[Mapping[str, Mapping[str, _Values]]] = {
    "eventhub": {"format": _fixed(*EVENT_FORMATS)},
    "ingest": {"format": _fixed(*DATA_FORMATS)},
    "new": {"format": _formats},
    "plan": {"format": _fixed("text", *FORMATS)},
}
