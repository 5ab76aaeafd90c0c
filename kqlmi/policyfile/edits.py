"""Edits to YAML that leave every other byte unchanged."""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from kqlmi.errors import printable
from kqlmi.model.jsontext import Raw
from kqlmi.policyfile.nodes import Node, Slot

Value = str | Raw | Sequence[str] | Mapping[str, "Value"]
"""A value to write: a scalar, JSON text, a list of scalars, or a mapping."""

_GUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_PLAIN = re.compile(rf"[A-Za-z_][A-Za-z0-9_.-]*|{_GUID}")
# kqlmi reads every scalar as text; other programs read these as booleans or null.
_WORDS = {"true", "false", "yes", "no", "on", "off", "y", "n", "null"}


class Cut(NamedTuple):
    """New text that replaces the text from ``start`` to ``end``."""

    start: int
    end: int
    text: str


def scalar(text: str) -> str:
    """Return a YAML scalar for ``text``, on one line, with unprintable characters escaped."""
    if _PLAIN.fullmatch(text) and text.casefold() not in _WORDS:
        return text
    return printable(json.dumps(text, ensure_ascii=False))


def flow(value: Value) -> str:
    """Return a value on one line."""
    if isinstance(value, Raw):
        # The JSON is ASCII without control characters, and has line ends only between its tokens.
        line = re.sub(r"(?<=[\[{])\n *|\n *(?=[]}])", "", value)
        return re.sub(r"\n *", " ", line)
    if isinstance(value, str):
        return scalar(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(name)}: {flow(item)}" for name, item in value.items()) + "}"
    return "[" + ", ".join(map(scalar, value)) + "]"


def block(mapping: Mapping[str, Value], column: int = 0) -> Iterator[str]:
    """Yield a mapping as lines. Nested mappings are indented; everything else is on the line of its key."""
    for name, value in mapping.items():
        if isinstance(value, Mapping) and value:
            yield f"{' ' * column}{scalar(name)}:"
            yield from block(value, column + 2)
        else:
            yield f"{' ' * column}{scalar(name)}: {flow(value)}"


def apply(text: str, cuts: Iterable[Cut]) -> str:
    """Return the text with every cut applied. Insertions at the same offset keep their order."""
    parts, done = [], 0
    for cut in sorted(cuts, key=lambda cut: cut.start):
        parts += [text[done : cut.start], cut.text]
        done = max(done, cut.end)
    return "".join(parts) + text[done:]


def replaced(text: str, slot: Slot, value: Value) -> Iterator[Cut]:
    """Yield the cuts that replace the value in a slot."""
    parent, key, node = slot
    if node.kind != "scalar" and not node.flow:
        yield from (_lines(text, span) for span in node.spans)
        colon = text.index(":", key.end) + 1
        yield Cut(colon, colon, f" {flow(value)}")
    elif isinstance(value, Mapping) and value and not parent.flow:
        yield Cut(len(text[: node.start].rstrip(" ")), node.end, "")
        yield _inserted(text, node.end, block(value, parent.column + 2))
    else:
        yield Cut(node.start, node.end, flow(value))


def changed(text: str, slot: Slot, gone: Collection[int], new: Mapping[str, Value] | Sequence[str]) -> Iterator[Cut]:
    """Yield the cuts that remove the items at the positions ``gone`` from the collection in a slot and append new ones."""
    node, spans = slot.value, slot.value.spans
    kept = [span for place, span in enumerate(spans) if place not in gone]
    if not kept and (node.flow or not new):
        yield from replaced(text, slot, new)
    elif node.flow:
        yield from _taken(text, spans, gone)
        yield from added(text, node, new, after=kept[-1][1])
    else:
        yield from (_lines(text, spans[place]) for place in gone)
        yield from added(text, node, new, after=node.end)


def added(text: str, node: Node, new: Mapping[str, Value] | Sequence[str], *, after: int) -> Iterator[Cut]:
    """Yield the cuts that insert new items into a collection, after the item that ends at ``after``."""
    if not new:
        return
    if node.flow:
        yield Cut(after, after, f", {flow(new)[1:-1]}")
    elif isinstance(new, Mapping):
        yield _inserted(text, after, block(new, node.column))
    else:
        yield _inserted(text, after, (f"{' ' * node.column}- {scalar(item)}" for item in new))


def _taken(text: str, spans: Sequence[tuple[int, int]], gone: Collection[int]) -> Iterator[Cut]:
    """Yield the cuts that remove items from a flow collection in which at least one remains."""
    last = max(place for place in range(len(spans)) if place not in gone)
    for place in gone:
        if place < last:
            yield Cut(spans[place][0], spans[place + 1][0], "")
    if last + 1 < len(spans):
        start, end = spans[last][1], spans[-1][1]
        if "#" in text[start : spans[last + 1][0]]:
            # Keep the comment of the last remaining item, with the comma before it; remove a comma after the last item instead.
            start = spans[last + 1][0]
            comma = re.compile(r"\s*,").match(text, end)
            end = comma.end() if comma else end
        yield Cut(start, end, "")


def _lines(text: str, span: tuple[int, int]) -> Cut:
    return Cut(text.rfind("\n", 0, span[0]) + 1, _line_end(text, span[1]), "")


def _inserted(text: str, after: int, lines: Iterable[str]) -> Cut:
    newline = "\r\n" if "\r\n" in text else "\n"
    place = _line_end(text, after)
    lead = "" if text.endswith("\n", 0, place) else newline
    return Cut(place, place, lead + "".join(line + newline for line in lines))


def _line_end(text: str, place: int) -> int:
    return text.find("\n", place) + 1 or len(text)
