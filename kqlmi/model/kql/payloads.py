"""The strings of a JSON payload, each with its property and the source offsets of its characters."""

import re
from collections.abc import Iterable, Iterator, Sequence

from kqlmi.model.kql.source_map import Mapped, Text, json_string, literal
from kqlmi.model.kql.tokenizer import Token

# As in kqlmi.model.jsontext, single quotes are accepted, and an unclosed string extends to the end.
_PIECE = re.compile(r""""(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[A-Za-z_$][\w$]*|[{}\[\],:]""", re.DOTALL)

Piece = str | Mapped


def json_pieces(payload: Mapped) -> Iterator[Piece]:
    """Yield the strings, unquoted names and punctuation of a JSON payload. Never raises."""
    for match in _PIECE.finditer(payload.value):
        start, end = match.span()
        if match[0][0] not in "\"'":
            yield match[0]
        else:
            closed = end - start > 1 and match[0][-1] == match[0][0]
            yield json_string(payload.part(start + 1, end - closed))


def pieces(source: Mapped, tokens: Sequence[Token]) -> Iterator[Piece]:
    """Yield the strings, unquoted names and punctuation inside ``dynamic(…)``, whose strings are literals of any form."""
    for token in tokens:
        yield literal(source, token) if token.kind == "literal" else token.text


def leaves(found: Iterable[Piece]) -> tuple[tuple[str, Text], ...]:
    """Return each string value with the name of its property, or of the property of the array that contains it."""
    names, result = [""], []
    before: Piece = ""
    for piece in (*found, ""):
        if piece == ":":
            names[-1] = before if isinstance(before, str) else before.value
            before = ""
            continue
        if isinstance(before, Mapped):
            result.append((names[-1], Text((before,))))
        if piece in ("{", "["):
            names.append(names[-1])
        elif piece in ("}", "]") and len(names) > 1:
            names.pop()
        before = piece
    return tuple(result)
