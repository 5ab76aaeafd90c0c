"""Completion in the body of a cell: policy commands and some others, database names, and the contents of literals."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from kqlmi.model.entities import Scope
from kqlmi.model.kql import quoting
from kqlmi.model.kql.tokenizer import Token, tokens
from kqlmi.model.policy import commands
from kqlmi.model.policy.policy import Policy
from kqlmi.model.statement import Statement
from kqlmi.notebook.completion.offers import NOTHING, Candidate, Names, Offers, begins, bracketed, object_ids
from kqlmi.notebook.completion.payload import OPENING, complete_payload

_NAME, _PAYLOAD = "['']", "```[]```"
# Documented commands besides those for the policy; a bracketed name is a placeholder.
_OTHERS: Final = (
    ".show databases",
    f".show database {_NAME} principals",
    ".show cluster principals",
    ".show cluster policy callout",
    ".show commands",
    ".show commands-and-queries",
    ".show continuous-exports",
    ".show external tables",
    ".show functions",
    ".show journal",
    ".show operations",
    ".show queries",
    ".show tables",
    ".show version",
)
_OPENER: Final = re.compile(r"[hH]?(```|~~~|@?['\"])")
_COMMENT: Final = re.compile(r"//[^\r\n\u2028\u2029]*\Z")
# An identity follows these, in connection strings and in other policies.
_IDENTITY: Final = re.compile(r"managed_?identity\\?[\"']?\s*[=:]\s*\\?[\"']?(?P<fragment>[^;\"',=]*)\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Typed:
    """A command up to the cursor: its complete words and names, and the fragment being typed.

    If the cursor is in a literal, ``opened`` is its opening delimiter, ``before`` is everything before it, and
    ``inside`` is its content.
    """

    units: tuple[str, ...]
    fragment: str
    opened: str = ""
    before: str = ""
    inside: str = ""


def complete_body(body: str, after: str, names: Names) -> Offers:
    """Return completions for the end of a cell's body."""
    typed = _read(body)
    if typed is None:
        return NOTHING
    if typed.opened:
        command = Statement(typed.before).policy_command
        if command and command.payload is None and command.verb in {"alter", "alter-merge"}:
            return complete_payload(typed.inside, after, names, command.scope, typed.opened)
        if named := _IDENTITY.search(body):
            return Offers(named["fragment"], object_ids(names, named["fragment"]))
    return _command(typed, names)


def _read(text: str) -> _Typed | None:
    """Read a command up to the cursor; return None if nothing can be completed: in a comment, or after a broken literal."""
    found = tokens(text)
    literal = next((token for token in found if token.kind == "unclosed"), None)
    end = found[-1].end if found else 0
    nowhere = literal.end < len(text) if literal else _COMMENT.search(text[end:])
    if nowhere:
        return None
    units = list(_units(found[:-1] if literal else found))
    start = literal.start if literal else len(text)
    _, opened, inside = _OPENER.split(literal.text, maxsplit=1) if literal else ("", "", "")
    before = text[:start]
    if units and (_is_unclosed(units[-1]) or units[-1][-1].end == len(text)):
        start = units.pop()[0].start
    return _Typed(_texts(units, text), text[start:], opened, before, inside)


def _units(found: Sequence[Token]) -> Iterator[list[Token]]:
    """Yield the tokens of each word of a command: words include dots and hyphens, names include their brackets."""
    unit: list[Token] = []
    for token in found:
        bracket = bool(unit) and _is_unclosed(unit)
        adjacent = bool(unit) and unit[-1].end == token.start and not {unit[-1].text, token.text}.isdisjoint({".", "-"})
        if unit and not bracket and not adjacent:
            yield unit
            unit = []
        unit.append(token)
    if unit:
        yield unit


def _is_unclosed(unit: Sequence[Token]) -> bool:
    return unit[0].text == "[" and unit[-1].text != "]"


def _texts(units: Sequence[Sequence[Token]], text: str) -> tuple[str, ...]:
    return tuple(text[unit[0].start : unit[-1].end] for unit in units)


@cache
def _templates() -> tuple[tuple[str, ...], ...]:
    """Return the words of each command to offer, with placeholders for names and payloads."""
    texts = []
    for scope in (Scope.cluster(), Scope.database("D")):
        texts += [commands.show(scope), commands.alter(scope, Policy.empty())]
        texts += [commands.alter_merge(scope, Policy.empty()), commands.delete(scope)]
    named = [text.replace(quoting.name("D"), _NAME) for text in texts]
    return tuple(_texts(list(_units(tokens(text))), text) for text in (*named, *_OTHERS))


def _command(typed: _Typed, names: Names) -> Offers:
    """Return completions for the command being typed, or names where a name is expected."""
    found = []
    for template in _templates():
        place = len(typed.units)
        begun = zip(typed.units, template, strict=False)
        if place >= len(template) or any(word not in {unit, _NAME} for unit, word in begun):
            continue
        if template[place] == _NAME:
            return bracketed(names, typed.fragment)
        if template[place] == _PAYLOAD:
            return Offers("", (Candidate(OPENING, "policy"),) if not typed.fragment else ())
        if begins(template[place], typed.fragment):
            found.append(Candidate(_filled(template[place:], names), "command"))
    return Offers(typed.fragment, tuple(dict.fromkeys(found)))


def _filled(template: Sequence[str], names: Names) -> str:
    """Return the rest of a command for the current database; without one, it ends before the name."""
    words: list[str] = []
    for word in template:
        if word == _PAYLOAD or (word == _NAME and not names.database):
            break
        words.append(quoting.name(names.database) if word == _NAME else word)
    return " ".join(words)
