"""The uses of identities in a file: a script, an ARM template, a policy as JSON, or the string literals of a Bicep file."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Literal

from kqlmi.errors import InputError, PolicyError
from kqlmi.model import jsontext
from kqlmi.model.kql.brackets import Nest, commands
from kqlmi.model.kql.payloads import json_pieces, leaves
from kqlmi.model.kql.source_map import DOUBLED, UNKNOWN, Mapped, Text, decoded
from kqlmi.model.kql.tokenizer import tokens
from kqlmi.model.uses.commandflows import command_uses
from kqlmi.model.uses.connections import addressed, plain
from kqlmi.model.uses.queryflows import UNKNOWN_FLOW, Stored, Use

DocumentKind = Literal["kql", "json", "bicep"]
POLICY_ENTRY: Final = "ManagedIdentity policy"
"""The name of the flow of an identity in a ManagedIdentity policy."""

_LIGHTINGEST: Final = re.compile(
    r"""\bLightIngest\b[^\r\n]*?[ ]-ingestmi[:= ]"?(?P<identity>[^\s"]+)""", re.IGNORECASE | re.VERBOSE
)
_DATABASE: Final = re.compile(r"""\s-(?:database|db)[:= ]"?([^\s"]+)""", re.IGNORECASE)
# A string, or a comment, which an ARM template may contain.
_JSON: Final = re.compile(r'"(?:[^"\\\n]|\\.)*+"|(?P<comment>//[^\n]*|/\*.*?\*/)', re.DOTALL)
_BICEP: Final = re.compile(
    r"""//[^\n]*|/\*.*?\*/|(?:(?P<key>\w+)\s*:\s*)?(?:'''\r?\n?(?P<raw>.*?)'''
    |'(?P<string>(?:\$\{[^{}]*\}|[^'\\\r\n]|\\[^\r\n])*+)')""",
    re.DOTALL | re.VERBOSE,
)
_BICEP_UNIT: Final = re.compile(r"\$\{[^{}]*\}|\\u\{(?P<code>[0-9a-fA-F]{1,6})\}|\\.|.", re.DOTALL)
_BICEP_SHORT: Final = {"n": "\n", "r": "\r", "t": "\t"}
_ARM_PIECE: Final = re.compile(r"'((?:[^']|'')*)'|[^']+")
_CONNECTIONS: Final = {"eventhub", "eventgrid", "cosmosdb"}

_AROUND: Final = 12

Leaf = tuple[str, Text]
Fits = Callable[[tuple[str, str]], bool]


def uses(
    text: str, kind: DocumentKind = "kql", stored: Stored | None = None, parsed: Sequence[Nest] = ()
) -> Iterator[Use]:
    """Yield the uses in a file, and the identities of ManagedIdentity policies in it. Nothing in it is evaluated.

    In a script, calls of what is ``stored`` are expanded; ``parsed`` are its commands, if they are known.

    Raises:
        InputError: The file should be JSON, but is not.
    """
    if kind == "kql":
        yield from _script(parsed or tuple(commands(Mapped.whole(text), tokens(text))), stored)
        for line in _LIGHTINGEST.finditer(text):
            found = _DATABASE.search(text, line.start(), (text + "\n").index("\n", line.start()))
            part = Text((Mapped.whole(text).part(*line.span("identity")),))
            yield Use("ingest.lightingest", part, plain, found[1] if found else "")
    else:
        yield from _leaf_uses(_json(text) if kind == "json" else list(_bicep(text)))


def _script(parsed: Iterable[Nest], stored: Stored | None = None) -> Iterator[Use]:
    for nest in parsed:
        yield from command_uses(nest, stored)
        words = [token.text for token in nest.tokens]
        if words[:1] == ["."] and "managed_identity" in words[:12]:
            for place in range(len(words)):
                if nest.is_literal(place) and not nest.is_literal(place - 1):
                    yield from _entries(leaves(json_pieces(nest.literals(place).joined)))


def _entries(found: Sequence[Leaf]) -> Iterator[Use]:
    for key, text in found:
        if key.casefold() == "objectid":
            yield Use(POLICY_ENTRY, text, plain)


def _json(text: str) -> Sequence[Leaf]:
    """Return the strings of a JSON document, with the places at which they are written."""
    bare = _JSON.sub(lambda found: re.sub(r"[^\n]", " ", found[0]) if found["comment"] else found[0], text)
    try:
        jsontext.load(bare)
    except PolicyError as error:
        raise InputError(error.message, hint="Fix the file, or check the text in a cell.") from None
    return leaves(json_pieces(Mapped.whole(bare)))


def _bicep(text: str) -> Iterator[Leaf]:
    """Yield the string literals of a Bicep file, each with the property before it; an interpolation is an unknown value."""
    source = Mapped.whole(text)
    for found in _BICEP.finditer(text):
        for form in ("raw", "string"):
            if found[form] is not None:
                body = source.part(*found.span(form))
                yield found["key"] or "", Text((body if form == "raw" else decoded(body, _BICEP_UNIT, _bicep_char),))


def _bicep_char(unit: re.Match[str]) -> str:
    if unit[0].startswith("${"):
        return UNKNOWN
    if unit["code"]:
        return chr(min(int(unit["code"], 16), 0x10FFFF))
    return _BICEP_SHORT.get(unit[0][-1], unit[0][-1]) if len(unit[0]) > 1 else unit[0]


def _leaf_uses(found: Sequence[Leaf]) -> Iterator[Use]:
    near = [(key.casefold(), text.value.casefold()) for key, text in found]
    is_policy = any(key == "allowedusages" for key, _ in near)
    for place, (key, written) in enumerate(found):
        text = _evaluated(written)
        match key.casefold():
            case "objectid" if is_policy:
                yield Use(POLICY_ENTRY, text, plain)
            case "managedidentityresourceid":
                kind = _nearest(near, place, lambda one: one[0] == "kind" and one[1] in _CONNECTIONS)
                yield Use(f"dataconnection.{kind[1]}" if kind else f"{UNKNOWN_FLOW}{key}", text, plain)
            case "managedidentity":
                sign = _nearest(near, place, lambda one: one[0] in {"query", "source", "hot"})
                yield Use("query_acceleration" if sign and sign[0] == "hot" else "update_policy", text, plain)
            case _:
                inside = list(_script(commands(text.joined, tokens(text.value))))
                yield from inside or [Use(f"{UNKNOWN_FLOW}{key or 'string'}", text, addressed)]


def _nearest(near: Sequence[tuple[str, str]], place: int, fits: Fits) -> tuple[str, str] | None:
    """Return the property nearest to a place that fits, among those of the same object and its neighbours."""
    around = sorted(range(max(place - _AROUND, 0), min(place + _AROUND, len(near))), key=lambda each: abs(each - place))
    return next((near[each] for each in around if fits(near[each])), None)


def _evaluated(text: Text) -> Text:
    """Return the value of a string of an ARM template; of an expression only the literals, with unknown values between."""
    value = text.value
    if not (value.startswith("[") and value.endswith("]")) or value.startswith("[["):
        return text
    source, pieces = text.joined, list[Mapped]()
    for piece in _ARM_PIECE.finditer(value):
        if piece[1] is not None:
            pieces.append(decoded(source.part(*piece.span(1)), DOUBLED["'"], lambda unit: unit[0][0]))
        elif piece[0].strip("[](), \r\n\t").casefold() not in {"", "concat"}:
            pieces.append(Mapped.unknown(*source.span(*piece.span())))
    return Text(tuple(pieces) or text.pieces)
