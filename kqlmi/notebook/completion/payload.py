"""Completion in the JSON of a policy: keys, identities, and usages that are not listed yet."""

import re
from dataclasses import dataclass, field
from typing import Final

from kqlmi.model.entities import Scope
from kqlmi.notebook.completion.offers import NOTHING, Candidate, Names, Offers, choose, object_ids, usages

OPENING: Final = '```[{"ObjectId": "'
_KEYS: Final = ("ObjectId", "AllowedUsages")
_PIECE: Final = re.compile(
    r"""(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<open>["'].*)|(?P<mark>[\[\]{}:,])|(?P<word>[^\s\[\]{}:,"']+)""",
    re.DOTALL,
)
_REST: Final = re.compile(r"[^\"'`\\\r\n]*")
# By the opening delimiter of the literal: how it writes a double quote, and how it escapes its own quote.
_WRITTEN: Final = {'"': ('\\"', '\\"'), "'": ('"', "\\'"), '@"': ('""', '""'), "@'": ('"', "''")}


@dataclass(slots=True)
class _Place:
    """The position of the cursor in the JSON: the open brackets, the keys of its object, and the fragment being typed."""

    brackets: str = ""
    keys: list[str] = field(default_factory=list)
    is_key: bool = False
    # Whether a key or a value may come next; after one, only punctuation may.
    free: bool = True
    fragment: str = ""
    in_string: bool = False


def complete_payload(text: str, after: str, names: Names, scope: Scope | None, opened: str) -> Offers:
    """Return completions for ``text``, the payload up to the cursor in a literal with the delimiter ``opened``.

    A scope of None means the current database.
    """
    quote, escaped = _WRITTEN.get(opened, ('"', ""))
    place = _place(text.replace(escaped, escaped[-1]) if escaped else text)
    if place.brackets != "[{" or not place.free:
        return NOTHING
    key = place.keys[-1].casefold() if place.keys and not place.is_key else ""
    if place.is_key:
        present = {key.casefold() for key in place.keys}
        offers = choose(place.fragment, [Candidate(key, "key") for key in _KEYS if key.casefold() not in present])
    elif key == "objectid":
        offers = Offers(place.fragment, object_ids(names, place.fragment))
    elif key == "allowedusages":
        offers = _usages(place, after, names, scope)
    else:
        return NOTHING
    if place.in_string:
        return offers
    return Offers(offers.fragment, tuple(Candidate(f"{quote}{one.text}{quote}", one.note) for one in offers.candidates))


def _usages(place: _Place, after: str, names: Names, scope: Scope | None) -> Offers:
    before, _, fragment = place.fragment.rpartition(",")
    # What follows the cursor belongs to the string up to its end; its first item is the rest of the word being typed.
    rest = _REST.match(after) if place.in_string else None
    listed = [*before.split(","), *(rest[0].split(",")[1:] if rest else ())]
    return choose(fragment.lstrip(), usages(names, listed, scope or Scope.database("in context")))


def _place(text: str) -> _Place:
    """Read JSON that may end anywhere, and return where in the structure it ends."""
    place, objects = _Place(), []
    for piece in _PIECE.finditer(text):
        kind, found = piece.lastgroup, piece[0]
        if kind == "open" or (kind == "word" and piece.end() == len(text)):
            place.in_string = kind == "open"
            place.fragment = found[1:] if place.in_string else found
            return place
        if kind in {"string", "word"}:
            if place.is_key:
                place.keys.append(found.strip("\"'"))
            place.free = False
        elif found in "[{":
            objects.append(place.keys)
            place = _Place(place.brackets + found, [], is_key=found == "{")
        elif found in "]}":
            place = _Place(place.brackets[:-1], objects.pop() if objects else [], free=False)
        else:
            place.is_key = found == "," and place.brackets.endswith("{")
            place.free = True
    return place
