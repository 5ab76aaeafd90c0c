"""The words of a line, read by the parameters of functions: the same for a notebook's line and for a shell's."""

import difflib
import inspect
import re
import shlex
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_origin

from kqlmi.errors import CellError
from kqlmi.model.entities import did_you_mean
from kqlmi.verbs.parameters import Values, values_of

Kind = Literal["flag", "value", "values"]
_KINDS: dict[object, Kind] = {bool: "flag", tuple: "values"}
_HELP = inspect.Parameter("help", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=bool)
# A dash alone, a negative number, and what has a blank in its name, are words.
_OPTION: Final = re.compile(r"(?!-(?:\d*\.?\d+)?$)(?P<name>-[^\s=]*)(?:=(?P<value>.*))?", re.DOTALL)


def split(line: str) -> list[str]:
    """Cut a line at blanks outside quotes; a backslash is an ordinary character."""
    lexer = shlex.shlex(line, posix=True)
    lexer.whitespace_split, lexer.escape, lexer.commenters = True, "", ""
    try:
        return list(lexer)
    except ValueError:
        raise CellError("A quote is not closed on the line.") from None  # which may hold a secret


def is_near(word: str, choices: Iterable[str]) -> bool:
    """Check whether a word is nearly one of the choices, or the beginning of one, and so can be no secret."""
    bare, known = word.casefold().lstrip("-"), [one.casefold().lstrip("-") for one in choices]
    begins = any(one.startswith(bare) for one in known if bare)
    return begins or bool(difflib.get_close_matches(bare, known, n=1, cutoff=0.8))


@dataclass(frozen=True, slots=True)
class Syntax:
    """What may stand behind a name: the parameters of functions, positional ones as words and keywords as options.

    An option is a flag (``bool``), takes a value, or takes one each time it is given (``tuple``). Of those in ``more``,
    the usage only says that there are some; those in ``common`` come last.
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
        """Return the parameters that are options by what is typed, ``--help`` last."""
        every = (*self.parameters, *self.more, *self.common, _HELP)
        return {f"--{p.name.rstrip('_').replace('_', '-')}": p for p in every if p.kind is p.KEYWORD_ONLY}

    @property
    def kinds(self) -> dict[str, Kind]:
        """Return for each option what it takes."""
        return {option: _kind(p) for option, p in self.options.items()}

    @property
    def values(self) -> dict[str, Values]:
        """Return for each option the values that fit."""
        return {option: values_of(p.annotation) for option, p in self.options.items()}

    @property
    def usage(self) -> str:
        """Return the line to type."""
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
        """Return the words that stand alone, and the options that are given, by the names of their parameters.

        Raises:
            CellError: A word does not fit. It is quoted where it nearly is what would fit there; otherwise it may be a
                secret, and its place is named, counted from that of the name, which is 1.
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
        message = f"There is no option {name} here." if known else f"Argument {place} is no option here."
        raise CellError(message, hint=did_you_mean(name, self.options))

    def _refuse_words(self, alone: Sequence[tuple[int, str]], found: Container[str]) -> None:
        """Raise CellError where there are too many words, or one is missing, or an option that has no default."""
        fixed = [p for p in self.words if p.kind is p.POSITIONAL_ONLY]
        if len(alone) > len(fixed) and len(fixed) == len(self.words):
            place, _ = alone[len(fixed)]
            raise CellError(f"Argument {place} has no place in {self.name}.", hint=f"Write {self.usage}")
        missing = [_metavar(p) for p in fixed[len(alone) :] if p.default is p.empty]
        missing += [option for option, p in self.options.items() if p.default is p.empty and p.name not in found]
        if missing:
            raise CellError(f"{self.name} needs {missing[0]}.", hint=f"Write {self.usage}")


def _checked(option: str, p: inspect.Parameter, value: str | None) -> Any:
    """Return the value of an option as its parameter has it; of a flag, which takes none, that it is given."""
    if _kind(p) == "flag":
        if value is not None:
            raise CellError(f"{option} takes no value.")
        return True
    if not value:
        raise CellError(f"{option} needs a value.", hint=f"One that begins with a dash is written {option}=VALUE.")
    if p.annotation is int:
        if not (value.isascii() and value.isdecimal()):
            raise CellError(f"The value of {option} is no whole number.")
        return int(value)
    fitting = values_of(p.annotation)
    if isinstance(fitting, tuple) and value.casefold() not in fitting:
        what = f"no {value!r}" if is_near(value, fitting) else "no such value"
        raise CellError(f"{option} takes {what}.", hint=did_you_mean(value, fitting))
    return value.casefold() if isinstance(fitting, tuple) else value


def _kind(p: inspect.Parameter) -> Kind:
    return _KINDS.get(get_origin(p.annotation) or p.annotation, "value")


def _metavar(p: inspect.Parameter) -> str:
    return p.name.rstrip("_").upper()
