"""The nodes of a YAML document, each with its position. Every scalar is a string."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from kqlmi.errors import InputError, printable
from kqlmi.model.kql.source_map import whole_characters

# A cluster of 10,000 databases takes about a megabyte. The parser's time grows with the square of the depth.
MAX_LENGTH = 4_000_000
MAX_DEPTH = 100


class PolicyFileError(InputError):
    """An error in a policy file. ``line`` is its line, counted from 1, or None if it concerns the whole file."""

    def __init__(self, message: str, *, hint: str = "", line: int | None = None) -> None:
        super().__init__(f"Line {line}: {message}" if line else f"Policy file: {message}", hint=hint)
        self.line = line


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A scalar with its text, a sequence with its items, or a mapping with key, value, key, value….

    ``start`` and ``end`` are offsets into the document. ``flow`` distinguishes ``[…]`` and ``{…}``, whose source is in
    ``text``, from indented lines.
    """

    kind: Literal["scalar", "sequence", "mapping"]
    start: int
    end: int
    line: int
    column: int
    text: str = ""
    items: tuple["Node", ...] = ()
    flow: bool = False

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """Return the start and end of each item or, in a mapping, of each key with its value."""
        step = 2 if self.kind == "mapping" else 1
        return tuple(
            (first.start, last.end)
            for first, last in zip(self.items[::step], self.items[step - 1 :: step], strict=True)
        )

    def scalar(self, what: str, hint: str = "") -> str:
        """Return the text of a scalar, or raise PolicyFileError if it is empty or another kind of node."""
        if self.kind != "scalar":
            raise self.error(f"{what} must be a single value, not a {self.kind}.", hint)
        if not self.text:
            raise self.error(f"{what} is empty.", hint)
        return self.text

    def sequence(self, what: str, hint: str = "") -> tuple["Node", ...]:
        """Return the items of a sequence of scalars, or raise PolicyFileError for anything else."""
        if self.kind != "sequence":
            raise self.error(f"{what} {_found(self)}, not a list.", hint)
        for item in self.items:
            item.scalar(f"An item of {what}", hint)
        return self.items

    def mapping(self, what: str, hint: str = "", *, same: Callable[[str], str] = str.casefold) -> Iterator["Slot"]:
        """Yield the slots of a mapping. Another kind of node, or keys that ``same`` makes equal, raise PolicyFileError."""
        if self.kind != "mapping":
            raise self.error(f"{what} {_found(self)}, not a mapping.", hint)
        seen: dict[str, Node] = {}
        for key, value in zip(self.items[::2], self.items[1::2], strict=True):
            first = seen.setdefault(same(key.scalar(f"A key of {what}")), key)
            if first is not key:
                raise key.twice(first, what)
            yield Slot(self, key, value)

    def error(self, message: str, hint: str = "") -> PolicyFileError:
        """Return an error at this node's line."""
        return PolicyFileError(message, hint=hint, line=self.line)

    def twice(self, first: "Node", what: str) -> PolicyFileError:
        """Return the error that this scalar repeats ``first`` in ``what``."""
        also = "" if self.text == first.text else f", also as {first.text!r}"
        return self.error(
            f"{self.text!r} occurs twice in {what}{also}.", f"Remove one; the other is on line {first.line}."
        )


class Slot(NamedTuple):
    """A value with its key and the mapping that contains it."""

    parent: Node
    key: Node
    value: Node


def _found(node: Node) -> str:
    if node.kind != "scalar":
        return f"is a {node.kind}"
    return f"is {node.text!r}" if node.text else "has no value"


def decode(document: str | bytes) -> str:
    """Return a document as a string, with its line ends and byte order mark.

    Raises:
        PolicyFileError: The document is too long, or is not UTF-8.
    """
    if len(document) > MAX_LENGTH:
        hint = "Check that this is the right file."
        raise PolicyFileError(f"the file is longer than {MAX_LENGTH:,} characters.", hint=hint)
    if isinstance(document, str):
        return document
    try:
        return document.decode("utf-8")
    except UnicodeDecodeError as error:
        line = document.count(b"\n", 0, error.start) + 1
        byte = document[error.start]
        raise PolicyFileError(f"byte 0x{byte:02x} is not UTF-8.", hint="Save the file as UTF-8.", line=line) from None


def parse(text: str) -> Node:
    """Return the root node of a YAML document.

    Raises:
        PolicyFileError: ``text`` is not YAML, or uses features that policy files do not support: anchors, aliases, tags,
            directives, multiple documents, or scalars that span several lines.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    open_nodes: list[tuple[Any, list[Node]]] = [(None, [])]
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            _take(event, text, open_nodes)
        failed = None
    except MarkedYAMLError as error:
        failed = _not_yaml(error, text)
    except YAMLError as error:
        # The reader rejects control characters before anything is parsed, and reports only their offset.
        place = getattr(error, "position", 0)
        line = text.count("\n", 0, place) + 1
        failed = PolicyFileError(f"character {text[place : place + 1]!r} is not allowed.", line=line)
    except ValueError as error:
        failed = PolicyFileError(f"the file is not YAML: {error}.", hint="Look for an escape such as \\U00110000.")
    if failed:
        # Raised outside the handlers, so that its context contains no part of the file.
        raise failed
    found = open_nodes[0][1]
    if not found:
        raise PolicyFileError("the file is empty.", hint="A policy file begins with kqlmi: 1; kqlmi export writes one.")
    return found[0]


def _take(event: Any, text: str, open_nodes: list[tuple[Any, list[Node]]]) -> None:
    from ruamel.yaml import events

    _refuse(event, text, is_second=len(open_nodes) == 1 and bool(open_nodes[0][1]))
    mark = event.start_mark
    if isinstance(event, events.ScalarEvent):
        parent, siblings = open_nodes[-1]
        # A missing value is marked where the next value begins; report the line of its key instead.
        of_key = mark.index == event.end_mark.index and isinstance(parent, events.MappingStartEvent) and siblings
        line = siblings[-1].line if of_key else mark.line + 1
        # JSON in double quotes writes an emoji as two escapes.
        value = whole_characters(event.value)
        siblings.append(Node("scalar", mark.index, event.end_mark.index, line, mark.column, value))
    elif isinstance(event, events.CollectionStartEvent):
        if len(open_nodes) > MAX_DEPTH:
            raise PolicyFileError(f"the file is nested deeper than {MAX_DEPTH} levels.", line=mark.line + 1)
        open_nodes.append((event, []))
    elif isinstance(event, events.CollectionEndEvent):
        start, items = open_nodes.pop()
        # The end of an indented collection is marked after the comments that follow it.
        end = event.end_mark.index if start.flow_style or not items else items[-1].end
        mark = start.start_mark
        kind: Literal["sequence", "mapping"] = "sequence" if isinstance(event, events.SequenceEndEvent) else "mapping"
        flow = bool(start.flow_style)
        source = text[mark.index : end] if flow else ""
        open_nodes[-1][1].append(Node(kind, mark.index, end, mark.line + 1, mark.column, source, tuple(items), flow))


def _refuse(event: Any, text: str, *, is_second: bool) -> None:
    from ruamel.yaml import events

    line = event.start_mark.line + 1
    if isinstance(event, events.DocumentStartEvent) and (is_second or event.version or event.tags):
        what = "a second document begins here" if is_second else "a % directive precedes the document"
        raise PolicyFileError(f"{what}.", hint="A policy file is one document without directives.", line=line)
    if getattr(event, "anchor", None) is not None:
        hint = "Quote a name that begins with & or *."
        raise PolicyFileError("a policy file cannot contain anchors or aliases.", hint=hint, line=line)
    if getattr(event, "tag", None) is not None:
        raise PolicyFileError("a policy file cannot contain tags.", hint="Quote a name that begins with !.", line=line)
    if isinstance(event, events.ScalarEvent):
        source = text[event.start_mark.index : event.end_mark.index]
        if event.style in {"|", ">"} or len(source.splitlines()) > 1:
            hint = "Check for a missing colon or quote. In double quotes, \\n is a line end."
            raise PolicyFileError(f"{event.value[:40]!r} spans several lines.", hint=hint, line=line)


def _not_yaml(error: Any, text: str) -> PolicyFileError:
    mark, context = error.problem_mark or error.context_mark, error.context_mark
    where = f" ({error.context})" if error.context else ""
    if context and mark.index >= len(text.rstrip()):
        mark = context  # An unclosed bracket or quote is noticed at the end of the file; report where it begins.
    lines = text.splitlines() or [""]
    source = lines[min(mark.line, len(lines) - 1)]
    tab = "\t" in source[: len(source) - len(source.lstrip())] or source[mark.column : mark.column + 1] == "\t"
    hint = "Replace the tab with spaces." if tab else "Check the brackets, quotes, colons and indentation there."
    return PolicyFileError(
        f"the file is not YAML: {printable(str(error.problem))}{where}.", hint=hint, line=mark.line + 1
    )
