"""Completion after ``%kqlmi`` and in the first line of a cell, derived from the registry of verbs."""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from kqlmi.model.templates import FORMS
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
from kqlmi.notebook.face import NOTEBOOK
from kqlmi.notebook.invocation import ASSIGNMENT, FIRST_LINE
from kqlmi.verbs.arguments import Kind, Syntax, split
from kqlmi.verbs.parameters import Values, values_of

# Words as `split` returns them; an unclosed quote extends to the end.
_WORD: Final = re.compile(r"""(?:"[^"]*"?|'[^']*'?|[^ \t\r\n"'])+""")
_Pairs = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class _Typed:
    """A line up to the cursor: its complete words, the option that needs a value, and the word being typed."""

    positional: tuple[str, ...]
    options: Mapping[str, str]
    waiting: str
    fragment: str


def complete_line(line: str, known: Known) -> Offers:
    """Return completions for the line after ``%kqlmi``."""
    words, fragment = _cut(line)
    if not words:
        return choose(fragment, [*(Candidate(*pair) for pair in _summaries()), Candidate("--help", "option")])
    verb = NOTEBOOK.verbs.get(words[0])
    if verb is None:
        return NOTHING
    found = NOTEBOOK.syntax(verb)
    typed = _read(words[1:], fragment, found.kinds)
    found = NOTEBOOK.syntax(verb, typed.positional)
    if not typed.positional:
        found = replace(found, more=())
    if value := _value(typed, known, found.values):
        return value
    if typed.fragment.startswith("-"):
        return choose(fragment, _options(typed, found.kinds))
    return _word(typed, found, known)


def complete_first_line(line: str, known: Known) -> Offers:
    """Return completions for the line after ``%%kqlmi``."""
    words, fragment = _cut(ASSIGNMENT.sub("", line))
    typed = _read(words, fragment, FIRST_LINE.kinds)
    check = [] if typed.positional else [Candidate("check", "check the cell, do not send it")]
    return _value(typed, known, FIRST_LINE.values) or choose(fragment, [*check, *_options(typed, FIRST_LINE.kinds)])


def connection_of(line: str, known: Known) -> Names:
    """Return the known names for a cell with this first line: those of its connection and database."""
    words, fragment = _cut(ASSIGNMENT.sub("", line) + " ")
    options = _read(words, fragment, FIRST_LINE.kinds).options
    names = known.on(options.get("--on", ""))
    return replace(names, database=options.get("--database") or names.database)


def _cut(line: str) -> tuple[list[str], str]:
    """Split a line into its complete words, and the word being typed, with its quotes."""
    last = [*_WORD.finditer(line)][-1:]
    start = last[0].start() if last and last[0].end() == len(line) else len(line)
    # An unclosed quote extends to the end, so `split` does not see it.
    return split(line[:start]), line[start:]


def _read(words: Iterable[str], fragment: str, options: Mapping[str, Kind]) -> _Typed:
    positional, found, waiting = [], dict[str, str](), ""
    for word in words:
        name, equals, value = word.partition("=")
        if waiting:
            found[waiting], waiting = word, ""
        elif not word.startswith("--"):
            positional.append(word)
        elif equals or options.get(name, "flag") == "flag":
            found[name] = value
        else:
            waiting = name
    return _Typed(tuple(positional), found, waiting, fragment)


def _value(typed: _Typed, known: Known, values: Mapping[str, Values]) -> Offers | None:
    """Return the values of an option if one is being typed, after the option or after its ``=``."""
    name, fragment = typed.waiting, typed.fragment
    if not name:
        option, equals, fragment = fragment.partition("=")
        name = option if equals and option.startswith("--") else ""
    if not name:
        return None
    return Offers(fragment, tuple(_written(fragment, _fitting_values(values.get(name, ""), fragment, typed, known))))


def _options(typed: _Typed, options: Mapping[str, Kind]) -> list[Candidate]:
    free = [name for name, kind in options.items() if name not in typed.options or kind == "values"]
    return [Candidate(name, "option") for name in free]


def _word(typed: _Typed, found: Syntax, known: Known) -> Offers:
    """Return the words for the next parameter, and the options if no part of a word is typed yet."""
    alone = [p for p in found.words if p.kind is p.POSITIONAL_ONLY]
    rest = [p for p in found.words if p.kind is p.VAR_POSITIONAL]
    after = [*alone[len(typed.positional) :], *rest]
    values = values_of(after[0].annotation) if after else ""
    fragment = typed.fragment
    if values == "usage" and after == rest:
        fragment = fragment.rpartition(",")[2]
    candidates = [*_written(fragment, _fitting_values(values, fragment, typed, known))]
    if not typed.fragment:
        candidates += _options(typed, found.kinds)
    # IPython completes file names.
    return Offers(fragment, tuple(candidates), alone=values != "plan")


def _bare(fragment: str) -> str:
    return fragment[1:].rstrip(fragment[0]) if fragment[:1] in {'"', "'"} else fragment


def _written(fragment: str, pairs: _Pairs) -> Iterator[Candidate]:
    """Yield values quoted for `split`, with the quote that is already open if possible."""
    for value, note in pairs:
        quote = fragment[:1] if fragment[:1] in {'"', "'"} else '"'
        if re.fullmatch(r"""[^\s'"#;{}]+""", value) and fragment[:1] != quote:
            yield Candidate(value, note)
        else:
            yield Candidate(f"{quote}{value}{quote}" if quote not in value else shlex.quote(value), note)


def _fitting_values(values: Values, fragment: str, typed: _Typed, known: Known) -> _Pairs:
    """Return the values that begin with the word being typed, each with a note to show beside it."""
    bare, names = _bare(fragment), known.on(typed.options.get("--on", ""))
    if values == "identity":
        return identity_words(names, bare)
    if isinstance(values, tuple):
        return [(one, "") for one in values if begins(one, bare)]
    # Offer only usages that are not listed yet, in earlier words or before a comma.
    listed = [name for word in (*typed.positional[1:], typed.fragment.rpartition(",")[0]) for name in word.split(",")]
    pairs: Mapping[str, _Pairs] = {
        "cluster": (("local", ""), *((name, "configured") for name in known.configured)),
        "connection": ((name, "connection") for name in known.connections),
        "database": ((name, "database") for name in names.databases if name.isprintable()),
        "flow": ((flow, form.workflow.title) for flow, form in FORMS.items()),
        "plan": names.plans.items(),
        "usage": ((one.text, one.note) for one in usages(names, listed, None)),
        "verb": _summaries(),
    }
    return [pair for pair in pairs.get(values, ()) if begins(pair[0], bare)]


def _summaries() -> _Pairs:
    """Return the verbs, each with the first clause of its help, as completion lists are narrow."""
    return ((row.name, re.split("[:,.]", row.summary)[0]) for row in NOTEBOOK.verbs.values())
