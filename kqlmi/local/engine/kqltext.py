r"""The rewriting of queries so that the engine interprets them as Kusto does.

The engine misreads some string literals: it keeps the ``h`` of ``h'…'`` and the fences of multi-line literals, and it
drops the backslash of ``\x41``, ``\101`` and ``\u0041``. Every string literal therefore becomes a plain ``'…'``, and
every comment and run of white space a single blank or line break. The engine also reads ``bool(1)`` as false, a
malformed datetime as null, and ``a = b`` in a predicate as ``b``. Whatever it would still round or misread is refused.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import pairwise

from kqlmi.local.engine.results import to_microseconds
from kqlmi.local.language import literals
from kqlmi.local.language.lexer import Kind, Token, next_token, replaced, tokens
from kqlmi.local.values import kusto_time
from kqlmi.local.values.faults import bad_request, semantic_error, syntax_error, unsupported
from kqlmi.local.values.tables import kusto_type

_DIGITS = re.compile(r":\d\d\.\d{6}[1-9]")
_MOMENTS = frozenset({"datetime", "date", "time", "timespan", "todatetime", "totimespan"})
_DECIMALS = frozenset({"decimal", "todecimal"})
_REAL_RANGE = re.compile(
    r"\brange \S+ from (?:\S+ to (?:\S+ step )?)?-? ?\d+(?:\.\d+(?:[eE][+-]?\d+)?|[eE][+-]?\d+)(?!\w)"
)
# An equals sign that is part of an operator, matched from the preceding character on.
_COMPARES = re.compile(r"[=!<>]=|.=[=~>]", re.DOTALL)
_MISREAD = frozenset({"bool", "datetime"})
_MISREAD_INSIDE = _MISREAD | {"timespan"}
_MOST_RESULTS = 20
_DECLARATIONS = frozenset({"let", "set", "declare", "alias", "restrict", "pattern"})
_PREDICATES = frozenset({"case", "iff", "iif", "not"})
# At these limits, the engine plans a query for a few seconds on a laptop; at twice as many joins, for half a minute.
_MOST = {"operators": 500, "joins": 100, "united tables": 3000}
_FILTERS = frozenset({"where", "filter"})
_SOURCES = frozenset({"print", "datatable", "union", "range", "externaldata", "find", "search"})


def substitute(text: str, calls: Mapping[str, str]) -> str:
    """Return a query with each call without arguments, such as ``f()``, replaced by the expression in ``calls``."""
    found = list(tokens(text))
    return replaced(
        text,
        (
            (word.start, closing.end, calls[word.text])
            for word, opening, closing in zip(found, found[1:], found[2:], strict=False)
            if word.kind is Kind.WORD and word.text in calls and opening.text == "(" and closing.text == ")"
        ),
    )


def substitute_word(text: str, word: str, by: str) -> str:
    """Return a query with each occurrence of a word replaced."""
    found = (token for token in tokens(text) if token.kind is Kind.WORD and token.text == word)
    return replaced(text, ((token.start, token.end, by) for token in found))


def visualization(text: str) -> str:
    """Return the kind of chart that a query requests by its last ``render``, outside brackets; empty if it does not."""
    depth, kind = 0, ""
    found = list(tokens(text))
    for before, word, after in zip(found, found[1:], found[2:], strict=False):
        depth += before.nesting
        if not depth and (before.text, word.text) == ("|", "render"):
            kind = after.text
    return kind


def results(text: str) -> list[str]:
    """Return one query for each statement that returns rows, preceded by the declarations before it."""
    start = depth = 0
    prelude, found = "", []
    for token in (*tokens(text), Token(Kind.SYMBOL, len(text), len(text), ";")):
        depth += token.nesting
        if token.text == ";" and (depth == 0 or token.end == token.start):
            statement = text[start : token.end]
            first = next_token(statement, 0)
            if first.text in _DECLARATIONS:
                prelude += statement
            elif first.kind is not Kind.END and first.text != ";":
                found.append(prelude + text[start : token.start])
            if len(found) > _MOST_RESULTS:
                raise unsupported(f"queries with more than {_MOST_RESULTS} results")
            start = token.end
    return found or [text]


def for_engine(text: str, database: Callable[[str], str]) -> str:
    """Return a query in a form that the engine reads correctly; ``database`` returns the engine's name of a database."""
    found = list(tokens(text))
    _refuse_size(found)
    _refuse_harm(text, found)
    closing = _closing(found)
    _refuse_assignments(text, found)
    pieces: list[str] = []
    end = 0
    index = inside = 0
    while index < len(found):
        token = found[index]
        pieces.append(_gap(text[end : token.start]))
        if inside or _calls(found, index + 1, "dynamic"):
            inside += token.nesting
        stop = index + 1
        if token.kind is Kind.STRING:
            while stop < len(found) and found[stop].kind is Kind.STRING:
                stop += 1
            value = "".join(part.value for part in found[index:stop])
            named = _calls(found, index, "database") and stop < len(found) and found[stop].text == ")"
            pieces.append(quote(database(value) if named else value))
        elif inside and token.kind is Kind.NUMBER and (span := kusto_time.parse_timespan(token.text)) is not None:
            pieces.append(quote(kusto_time.format_timespan(span)))  # the engine would convert it to a number of ticks
        elif _is_member(found, index):
            stop += 1
            # The engine cannot parse a member that has the name of an operator.
            pieces.append(f"[{quote(found[index + 1].text)}]")
        elif literal := _literal(text, found, index, closing, inside=bool(inside)):
            stop, written = literal
            pieces.append(written)
        else:
            _refuse_elsewhere(found, index)
            pieces.append(token.text)
        end = found[stop - 1].end
        index = stop
    return "".join(pieces)


def _is_member(found: list[Token], index: int) -> bool:
    """Check whether a token is the dot before a member of a dynamic value; in ``$left.x``, it precedes a column."""
    if found[index].text != "." or not 0 < index < len(found) - 1:
        return False
    before, member = found[index - 1], found[index + 1]
    is_value = before.text == "]" or (before.kind is Kind.WORD and not before.text.startswith("$"))
    return is_value and member.kind is Kind.WORD


def quote(value: str) -> str:
    """Return a string literal for the engine, in which no other characters need escaping."""
    for plain, escaped in (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\r", "\\r")):
        value = value.replace(plain, escaped)
    return f"'{value}'"


def _gap(trivia: str) -> str:
    if not trivia:
        return ""
    return "\n" if "\n" in trivia or "\r" in trivia else " "


def _calls(found: list[Token], index: int, name: str) -> bool:
    return index > 1 and found[index - 1].text == "(" and found[index - 2].text == name


def _closing(found: list[Token]) -> list[int | None]:
    """Return, for each token, the index of the first ``)`` at or after it."""
    places: list[int | None] = []
    place = None
    for index in range(len(found) - 1, -1, -1):
        place = index if found[index].text == ")" else place
        places.append(place)
    return places[::-1]


def _literal(
    text: str, found: list[Token], index: int, closing: list[int | None], *, inside: bool
) -> tuple[int, str] | None:
    """Return the end and the corrected form of a literal that the engine misreads; ``inside`` is true in a dynamic value."""
    kind, stop = kusto_type(found[index].text), closing[index]
    if kind not in (_MISREAD_INSIDE if inside else _MISREAD) or stop is None or found[index + 1].text != "(":
        return None
    content = text[found[index + 1].end : found[stop].start].strip()
    if content == "null":
        return stop + 1, f"{kind}(null)"
    try:
        value = literals.parse(kind, content)
    except ValueError:
        raise semantic_error(f"{content[:60]!r} is not a {kind} literal that the local cluster supports") from None
    if kind == "timespan":
        return stop + 1, quote(kusto_time.format_timespan(value))
    if kind == "bool":
        return stop + 1, "true" if value else "false"
    exact = to_microseconds(value) * 10
    return stop + 1, f"datetime({kusto_time.format_datetime(exact)[:-2]}Z)"


def _refuse_size(found: list[Token]) -> None:
    """Refuse too many operators, joins or united tables: the engine's planning time is at least quadratic in each."""
    counts: Counter[str] = Counter()
    unions = [False]
    for before, token in zip([None, *found], found, strict=False):
        if token.nesting > 0:
            unions.append(False)
        elif token.nesting < 0 and len(unions) > 1:
            unions.pop()
        elif token.text in {"|", ";", "union"}:
            unions[-1] = token.text == "union"
        # A pipe after a placeholder for external data may have been added with it, so it does not count.
        counts["operators"] += token.text == "|" and not (before and before.text.startswith("kqlmi_"))
        counts["joins"] += token.text in {"join", "lookup"}
        counts["united tables"] += token.text == "," and unions[-1]
    for what, most in _MOST.items():
        if counts[what] > most:
            raise bad_request(f"the local cluster supports at most {most} {what} in one query, not {counts[what]}")


def _refuse_assignments(text: str, found: list[Token]) -> None:
    """Refuse ``=`` in a predicate, where only ``==`` compares; each bracketed part has its own state."""
    is_predicate = [False]
    for before, token in zip([None, *found], found, strict=False):
        word = before.text if before else ""
        if token.nesting > 0:
            is_predicate.append(token.text != "{" and (is_predicate[-1] or word in _PREDICATES or word.endswith("if")))
        elif token.nesting < 0 and len(is_predicate) > 1:
            is_predicate.pop()
        elif token.text in {"|", ";"} or (token.text in _SOURCES and word == "("):
            is_predicate[-1] = False
        elif token.text in _FILTERS and word in {"|", "(", "{"}:
            is_predicate[-1] = True
        elif token.text == "=" and is_predicate[-1] and not _COMPARES.match(text, token.start - 1):
            raise syntax_error(f"'=' at offset {token.start} is not a comparison; use '=='")


def _refuse_elsewhere(found: list[Token], index: int) -> None:
    token = found[index]
    following = found[index + 1 : index + 3]
    if token.kind is not Kind.WORD or not following or following[0].text != "(":
        return
    if token.text == "cluster":
        raise semantic_error("'cluster': the local cluster does not support queries to other clusters")
    if token.text == "database" and (len(following) == 1 or following[1].kind is not Kind.STRING):
        raise bad_request("the local cluster supports database('…') with a string literal only")


def _refuse_harm(text: str, found: list[Token]) -> None:
    words = {token.text for token in found if token.kind is Kind.WORD}
    if words & _DECIMALS:
        raise bad_request(
            "the local cluster supports decimal values only as plain literals in print and datatable: "
            "its engine computes with binary floating point"
        )
    if _REAL_RANGE.search(" ".join(token.text for token in found)):
        raise bad_request("the local cluster does not support ranges of reals: its engine would use integers")
    code = "".join(text[one.end : two.start] + two.text for one, two in pairwise(found))
    if words & _MOMENTS and _DIGITS.search(code):
        raise bad_request(
            "the local cluster supports a seventh fractional digit only in plain literals of print and datatable: "
            "its engine keeps microseconds"
        )
