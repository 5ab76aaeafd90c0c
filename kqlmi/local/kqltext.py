r"""Queries rewritten so that the engine reads them as Kusto does.

The engine takes some literals for something else: it keeps the ``h`` of ``h'…'`` and the fences of multi-line
literals, and it drops the backslash of ``\x41``, ``\101`` and ``\u0041``. So every literal becomes a plain ``'…'``,
and every comment and rare kind of white space becomes a blank. What the engine would round, or would fill
the memory with, is refused.
"""

import re
from collections.abc import Callable, Mapping
from itertools import pairwise

from kqlmi.local.faults import bad_request, semantic_error
from kqlmi.local.lexer import Kind, Token, tokens

_DIGITS = re.compile(r":\d\d\.\d{6}[1-9]")
_MOMENTS = frozenset({"datetime", "date", "time", "timespan", "todatetime", "totimespan"})
_DECIMALS = frozenset({"decimal", "todecimal"})
_RANGE = re.compile(r"\brange \S+ from (\d+) to (\d+) step (\d+)")
_LONGEST_RANGE = 50_000_000


def substitute(text: str, calls: Mapping[str, str]) -> str:
    """Give the text with each call without arguments, such as ``f()``, replaced by the text for its name."""
    found = list(tokens(text))
    pieces: list[str] = []
    done = 0
    for word, opening, closing in zip(found, found[1:], found[2:], strict=False):
        if word.kind is Kind.WORD and word.text in calls and opening.text == "(" and closing.text == ")":
            pieces += [text[done : word.start], calls[word.text]]
            done = closing.end
    return "".join([*pieces, text[done:]])


def for_engine(text: str, database: Callable[[str], str]) -> str:
    """Give the text in the form the engine reads right; ``database`` gives the engine's name for a database."""
    found = list(tokens(text))
    _refuse_harm(text, found)
    pieces: list[str] = []
    end = 0
    index = 0
    while index < len(found):
        token = found[index]
        pieces.append(_gap(text[end : token.start]))
        stop = index + 1
        if token.kind is Kind.STRING:
            while stop < len(found) and found[stop].kind is Kind.STRING:
                stop += 1
            value = "".join(part.value for part in found[index:stop])
            named = _calls(found, index, "database") and stop < len(found) and found[stop].text == ")"
            pieces.append(quote(database(value) if named else value))
        else:
            _refuse_elsewhere(found, index)
            pieces.append(token.text)
        end = found[stop - 1].end
        index = stop
    return "".join(pieces)


def quote(value: str) -> str:
    """Write a string literal; the engine reads every other character as itself."""
    for plain, escaped in (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\r", "\\r")):
        value = value.replace(plain, escaped)
    return f"'{value}'"


def _gap(trivia: str) -> str:
    if not trivia:
        return ""
    return "\n" if "\n" in trivia or "\r" in trivia else " "


def _calls(found: list[Token], index: int, name: str) -> bool:
    return index > 1 and found[index - 1].text == "(" and found[index - 2].text == name


def _refuse_elsewhere(found: list[Token], index: int) -> None:
    token = found[index]
    following = found[index + 1 : index + 3]
    if token.kind is not Kind.WORD or not following or following[0].text != "(":
        return
    if token.text == "cluster":
        raise semantic_error("'cluster': the local cluster knows no other cluster")
    if token.text == "database" and (len(following) == 1 or following[1].kind is not Kind.STRING):
        raise bad_request("the local cluster takes database('…') with a string literal only")


def _refuse_harm(text: str, found: list[Token]) -> None:
    words = {token.text for token in found if token.kind is Kind.WORD}
    if words & _DECIMALS:
        raise bad_request(
            "the local cluster takes decimal values only as plain literals in print and datatable: "
            "its engine computes with binary floating point"
        )
    for start, stop, step in _RANGE.findall(" ".join(token.text for token in found)):
        if (int(stop) - int(start)) // max(int(step), 1) > _LONGEST_RANGE:  # the engine would fill the memory first
            raise bad_request(f"the local cluster refuses a range of more than {_LONGEST_RANGE} values")
    code = "".join(text[one.end : two.start] + two.text for one, two in pairwise(found))
    if words & _MOMENTS and _DIGITS.search(code):
        raise bad_request(
            "the local cluster takes a seventh fractional digit only in plain literals of print and datatable: "
            "its engine keeps microseconds"
        )
