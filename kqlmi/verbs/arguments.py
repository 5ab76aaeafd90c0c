"""The words of a line, read by the parameters of functions: the same for a notebook's line and for a shell's."""

import argparse
import difflib
import inspect
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn, get_origin

from kqlmi.errors import CellError
from kqlmi.model.entities import did_you_mean
from kqlmi.verbs.parameters import Values, values_of

Kind = Literal["flag", "value", "values"]
_KINDS: dict[object, Kind] = {bool: "flag", tuple: "values"}
_ALONE = "*"
_HELP = inspect.Parameter("help", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=bool)


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


class _Word(str):
    """A word of a line; two that read the same are still told apart."""

    __slots__ = ()


class _Parser(argparse.ArgumentParser):
    """A parser that neither prints nor ends the process."""

    def error(self, message: str) -> NoReturn:
        raise argparse.ArgumentError(None, message)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        self.error(message or str(status))


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
        given = [_Word(word) for word in words]
        end = given.index(_Word("--")) if "--" in given else len(given)
        try:
            found, unknown = self._parser().parse_known_intermixed_args(given[:end])
        except argparse.ArgumentError as error:
            raise self._incomplete(error.argument_name or "") from None
        if unknown:
            self._refuse_option(next(word for word in unknown if word.startswith("-")), given)
        values = vars(found)
        alone = [*values.pop(_ALONE, ()), *given[end + 1 :]]
        self._refuse_words(alone, values, given)
        options = ((option, p) for option, p in self.options.items() if p.name in values)
        return [str(word) for word in alone], {
            p.name: self._checked(option, p, values[p.name]) for option, p in options
        }

    def _parser(self) -> _Parser:
        # Only options that are given come back: the defaults are those of the functions.
        parser = _Parser(
            "kqlmi", add_help=False, allow_abbrev=False, exit_on_error=False, argument_default=argparse.SUPPRESS
        )
        parser.add_argument(_ALONE, nargs="*")
        actions = {"flag": "store_true", "value": "store", "values": "append"}
        for option, p in self.options.items():
            parser.add_argument(option, dest=p.name, action=actions[_kind(p)])
        return parser

    def _incomplete(self, option: str) -> CellError:
        if self.kinds.get(option) == "flag":
            return CellError(f"{option} takes no value.")
        return CellError(f"{option} needs a value.", hint=f"One that begins with a dash is written {option}=VALUE.")

    def _refuse_option(self, word: str, given: Sequence[str]) -> NoReturn:
        name, options = word.partition("=")[0], self.options
        known = is_near(name, options)
        message = f"There is no option {name} here." if known else f"{self._place(word, given)} is no option here."
        raise CellError(message, hint=did_you_mean(name, options))

    def _refuse_words(self, alone: Sequence[str], options: Mapping[str, Any], given: Sequence[str]) -> None:
        """Raise CellError where there are too many words, or one is missing, or an option that has no default."""
        fixed = [p for p in self.words if p.kind is p.POSITIONAL_ONLY]
        if len(alone) > len(fixed) and len(fixed) == len(self.words):
            place = self._place(alone[len(fixed)], given)
            raise CellError(f"{place} has no place in {self.name}.", hint=f"Write {self.usage}")
        missing = [_metavar(p) for p in fixed[len(alone) :] if p.default is p.empty]
        missing += [o for o, p in self.options.items() if p.default is p.empty and p.name not in options]
        if missing:
            raise CellError(f"{self.name} needs {missing[0]}.", hint=f"Write {self.usage}")

    def _place(self, word: str, given: Sequence[str]) -> str:
        at = next(place for place, one in enumerate(given) if one is word)
        return f"Argument {len(self.name.split()) + at + 1}"

    def _checked(self, option: str, p: inspect.Parameter, value: Any) -> Any:
        """Return the value of an option as its parameter has it."""
        if isinstance(value, list):
            return tuple(str(self._checked(option, p, one)) for one in value)
        if not isinstance(value, str):
            return value
        if not value:
            raise self._incomplete(option)
        if p.annotation is int:
            if not (value.isascii() and value.isdecimal()):
                raise CellError(f"The value of {option} is no whole number.")
            return int(value)
        fitting = values_of(p.annotation)
        if isinstance(fitting, tuple) and value.casefold() not in fitting:
            what = f"no {str(value)!r}" if is_near(value, fitting) else "no such value"
            raise CellError(f"{option} takes {what}.", hint=did_you_mean(value, fitting))
        return value.casefold() if isinstance(fitting, tuple) else str(value)


def _kind(p: inspect.Parameter) -> Kind:
    return _KINDS.get(get_origin(p.annotation) or p.annotation, "value")


def _metavar(p: inspect.Parameter) -> str:
    return p.name.rstrip("_").upper()
