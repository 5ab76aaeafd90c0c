"""The parser of command lines, in notebooks and shells: it reads words and options by the parameters of a function."""

import difflib
import inspect
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from numbers import Real
from typing import Any, Final, Literal, get_origin
from uuid import UUID

from kqlmi.errors import CellError
from kqlmi.model.entities import did_you_mean
from kqlmi.verbs.parameters import Values, values_of

Kind = Literal["flag", "value", "values"]
_KINDS: dict[object, Kind] = {bool: "flag", tuple: "values"}
_HELP = inspect.Parameter("help", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=bool)
# A lone dash, a negative number, and a dash followed by text with a blank are words.
_OPTION: Final = re.compile(r"(?!-(?:\d*\.?\d+)?$)(?P<name>-[^\s=]*)(?:=(?P<value>.*))?", re.DOTALL)

_BLANKS: Final = " \t\r\n"
_QUOTES: Final = ('"', "'")
_PART: Final = re.compile(rf"""[{_BLANKS}]+|"[^"]*"|'[^']*'|[^{_BLANKS}"']+|["']""")
_WORDS: Final = (str, Real, Decimal, UUID)
_VARIABLE: Final = re.compile(r"\{(?P<name>[^\W\d]\w*)\}")


def split(line: str, variables: Mapping[str, object] | None = None) -> list[str]:
    """Split a line at blanks outside quotes; a backslash is an ordinary character.

    A note, from a word that begins with ``#``, and a semicolon at the end are left out. Outside quotes, ``{name}`` is replaced
    with the value of that variable, which stays within its word; without ``variables`` it remains as typed.

    Raises:
        CellError: A quote is not closed, or a variable is not defined, is not a single value, or begins an option.
    """
    words = _typed_words(line)
    if variables is None:
        return [_joined(parts, lambda found: found[0]) for parts in words]
    return [_expanded(parts, variables) for parts in words]


def _typed_words(line: str) -> list[list[str]]:
    """Return the words of a line, each as its parts in and outside quotes."""
    words: list[list[str]] = [[]]
    for part in _PART.findall(line):
        if part in _QUOTES:
            raise CellError("A quote on the line is not closed.")
        if part.startswith("#") and not words[-1]:
            break
        if part[0] in _BLANKS:
            words.append([])
        else:
            words[-1].append(part)
    found = [word for word in words if word]
    if found and found[-1][-1].endswith(";"):
        found[-1][-1] = found[-1][-1][:-1]
    return [word for word in found if any(word)]


def _joined(parts: Sequence[str], value: Callable[[re.Match[str]], str]) -> str:
    return "".join(part[1:-1] if part[:1] in _QUOTES else _VARIABLE.sub(value, part) for part in parts if part)


def _expanded(parts: Sequence[str], variables: Mapping[str, object]) -> str:
    word = _joined(parts, lambda found: variable_text(found["name"], variables))
    typed = _joined(parts, lambda _found: "\0")
    if _OPTION.fullmatch(word) and "\0" in typed.partition("=")[0]:
        message = "The value of a variable cannot begin an option."
        raise CellError(message, hint="Write a value that begins with a dash as --OPTION={name}.")
    return word


def variable_text(name: str, variables: Mapping[str, object]) -> str:
    """Return the value of a variable as text, if it is text, a number, a GUID or a time; CellError otherwise."""
    value = variable(name, variables)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bool) or not isinstance(value, _WORDS):
        raise CellError(f"The variable {name!r} is of type {type(value).__qualname__}, which is not a single word.")
    return str(value)


def variable(name: str, variables: Mapping[str, object]) -> object:
    """Return the value of a variable; CellError if it is not defined."""
    if name not in variables:
        raise CellError(f"The variable {name!r} is not defined.", hint="Braces in quotes are not replaced.")
    return variables[name]


def is_near(word: str, choices: Iterable[str]) -> bool:
    """Check whether a word resembles one of the choices, or begins one, and so cannot be a secret."""
    bare, known = word.casefold().lstrip("-"), [one.casefold().lstrip("-") for one in choices]
    begins = any(one.startswith(bare) for one in known if bare)
    return begins or bool(difflib.get_close_matches(bare, known, n=1, cutoff=0.8))


@dataclass(frozen=True, slots=True)
class Syntax:
    """The syntax of what follows a name: positional parameters are words, keyword-only parameters are options.

    An option is a flag (``bool``), takes one value, or takes one value each time it is repeated (``tuple``). The usage
    line does not list the options in ``more``, only that they exist; those in ``common`` come last.
    """

    name: str
    parameters: tuple[inspect.Parameter, ...]
    more: tuple[inspect.Parameter, ...] = ()
    common: tuple[inspect.Parameter, ...] = ()
    prompt: str = ""

    @property
    def words(self) -> tuple[inspect.Parameter, ...]:
        """Return the parameters that are words."""
        return tuple(p for p in self.parameters if p.kind in {p.POSITIONAL_ONLY, p.VAR_POSITIONAL})

    @property
    def options(self) -> dict[str, inspect.Parameter]:
        """Return the parameters that are options, by option name; ``--help`` is last."""
        every = (*self.parameters, *self.more, *self.common, _HELP)
        return {f"--{p.name.rstrip('_').replace('_', '-')}": p for p in every if p.kind is p.KEYWORD_ONLY}

    @property
    def kinds(self) -> dict[str, Kind]:
        """Return the kind of each option."""
        return {option: _kind(p) for option, p in self.options.items()}

    @property
    def values(self) -> dict[str, Values]:
        """Return the values that each option accepts."""
        return {option: values_of(p.annotation) for option, p in self.options.items()}

    @property
    def usage(self) -> str:
        """Return the usage line."""
        parts = [f"{self.prompt}{self.name}"]
        for p in self.words:
            many = p.kind is p.VAR_POSITIONAL
            word = _metavar(p) + ("…" if many else "")
            parts.append(word if p.default is p.empty and not many else f"[{word}]")
        for option, p in replace(self, more=()).options.items():
            written = option if _kind(p) == "flag" else f"{option} {_metavar(p)}"
            parts += [] if p is _HELP else [written if p.default is p.empty else f"[{written}]"]
        return " ".join([*parts, *(["[--OPTION VALUE]…"] if self.more else [])])

    def parse(self, words: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
        """Return the positional words, and the values of the given options by parameter name.

        Raises:
            CellError: A word does not fit. The message quotes it only if it resembles an accepted word; otherwise it may
                be a secret, and the message states its position instead. The name has position 1.
        """
        alone, found = list[tuple[int, str]](), dict[str, Any]()
        given = enumerate(words, len(self.name.split()) + 1)
        for place, word in given:
            if word == "--":
                alone += given
            elif not (option := _OPTION.fullmatch(word)):
                alone.append((place, word))
            else:
                name, value = option.groups()
                p = self._option(name, place)
                if _kind(p) != "flag" and value is None:
                    _, after = next(given, (0, ""))
                    value = "" if _OPTION.fullmatch(after) else after
                checked = _checked(name, p, value)
                found[p.name] = (*found.get(p.name, ()), checked) if _kind(p) == "values" else checked
        self._refuse_words(alone, found)
        return [word for _, word in alone], found

    def _option(self, name: str, place: int) -> inspect.Parameter:
        if name in self.options:
            return self.options[name]
        known = is_near(name, self.options)
        message = f"Unknown option {name}." if known else f"Argument {place} is not a known option of {self.name}."
        raise CellError(message, hint=did_you_mean(name, self.options))

    def _refuse_words(self, alone: Sequence[tuple[int, str]], found: Container[str]) -> None:
        """Raise CellError if there are too many words, or a word or an option without a default is missing."""
        fixed = [p for p in self.words if p.kind is p.POSITIONAL_ONLY]
        if len(alone) > len(fixed) and len(fixed) == len(self.words):
            place, _ = alone[len(fixed)]
            raise CellError(f"{self.name} does not take argument {place}.", hint=f"Usage: {self.usage}")
        missing = [_metavar(p) for p in fixed[len(alone) :] if p.default is p.empty]
        missing += [option for option, p in self.options.items() if p.default is p.empty and p.name not in found]
        if missing:
            raise CellError(f"{self.name} needs {missing[0]}.", hint=f"Usage: {self.usage}")


def _checked(option: str, p: inspect.Parameter, value: str | None) -> Any:
    """Return the value of an option converted to the type of its parameter; True for a flag, which takes no value."""
    if _kind(p) == "flag":
        if value is not None:
            raise CellError(f"{option} does not take a value.")
        return True
    if not value:
        raise CellError(f"{option} needs a value.", hint=f"Write a value that begins with a dash as {option}=VALUE.")
    if p.annotation is int:
        if not (value.isascii() and value.isdecimal()):
            raise CellError(f"The value of {option} is not a whole number.")
        return int(value)
    fitting = values_of(p.annotation)
    if isinstance(fitting, tuple) and value.casefold() not in fitting:
        what = repr(value) if is_near(value, fitting) else "this value"
        raise CellError(f"{option} does not accept {what}.", hint=did_you_mean(value, fitting))
    return value.casefold() if isinstance(fitting, tuple) else value


def _kind(p: inspect.Parameter) -> Kind:
    return _KINDS.get(get_origin(p.annotation) or p.annotation, "value")


def _metavar(p: inspect.Parameter) -> str:
    return p.name.rstrip("_").upper()
