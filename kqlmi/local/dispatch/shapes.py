"""The shapes of arguments in the patterns of commands."""

import re
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final

from kqlmi.local.dispatch.registry import shape
from kqlmi.local.language import reserved
from kqlmi.local.language.lexer import Kind
from kqlmi.local.language.reader import Mismatch, Reader
from kqlmi.local.values import lenient_json
from kqlmi.local.values.faults import bad_request, syntax_error
from kqlmi.local.values.principals import Role

NUMBER: Final = re.compile(r"[0-9]{1,18}")


@shape("name")
def _name(reader: Reader, verb: str) -> str:
    return reader.name(reserved.BY_VERB.get(verb, reserved.EVERYWHERE))


@shape("qualifier")
def _qualifier(reader: Reader, verb: str) -> str | None:
    """Take the name of a database and a dot, if present."""
    ahead = Reader(reader.text, reader.position)
    with suppress(Mismatch):
        name: str = _name(ahead, verb)
        if ahead.take("."):
            reader.position = ahead.position
            return name
    return None


def listed(reader: Reader, take: Callable[[], str]) -> tuple[str, ...]:
    """Take ``(a, b, …)``."""
    reader.expect("(")
    found = [take()]
    while reader.take(","):
        found.append(take())
    reader.expect(")")
    return tuple(found)


shape("names")(lambda reader, verb: listed(reader, lambda: _name(reader, verb)))
shape("string")(lambda reader, _verb: reader.strings())
shape("strings")(lambda reader, _verb: listed(reader, reader.strings))
shape("schema")(lambda reader, _verb: reader.schema())
shape("async")(lambda reader, _verb: reader.take("async"))


@shape("count")
def _count(reader: Reader, _verb: str) -> int:
    if not NUMBER.fullmatch(reader.peek().text):
        raise reader.mismatch("a number")
    return int(reader.next().text)


def one_of(reader: Reader, words: Collection[str], what: str) -> str:
    """Take one of the given words."""
    for word in words:
        if reader.take(word):
            return word
    raise reader.mismatch(f"{what} ({', '.join(words)})")


shape("role")(lambda reader, _verb: one_of(reader, tuple(Role), "a role"))


@shape("rest")
def _query(reader: Reader, _verb: str) -> str:
    reader.expect("<|")
    text = reader.text[reader.position :]
    reader.position = len(reader.text)
    if not text.strip():
        raise syntax_error("a query or data must follow '<|'")
    return text


@shape("properties")
def _properties(reader: Reader, _verb: str) -> dict[str, str]:
    """Take ``(name = value, …)``, or a string literal that contains them as JSON."""
    if reader.peek().kind is not Kind.STRING:
        return reader.properties()
    try:
        found = lenient_json.loads(reader.strings())
    except lenient_json.LenientJsonError as error:
        raise bad_request(f"the properties are not JSON: {error}") from error
    if not isinstance(found, dict):
        raise bad_request("the properties must be a JSON object")
    return {name.lower(): lenient_json.dumps(value) for name, value in found.items()}
