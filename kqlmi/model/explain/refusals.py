"""The recognition of a refusal: by its published text, its exception type, or its error code."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kqlmi.model.explain.gates import Kind
from kqlmi.report import Line

Sure = Literal["documented", "reported", "third party", "inferred", "local cluster"]


@dataclass(frozen=True, slots=True)
class Published:
    """A published refusal: how it is recognised, and the gates that it can mean, the likeliest first.

    ``text`` is the text as published. ``pattern`` finds it inside a longer sentence too; its groups are named as the fields
    that a local cluster adds to its errors. ``types`` are the ends of exception types. ``gates`` is empty for an error that
    is never about an identity. If it ``proves`` its gate, that is closed whatever else was read.
    """

    id: str
    text: str
    source: str
    sure: Sure = "documented"
    pattern: str = ""
    types: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    gates: tuple[Kind, ...] = ()
    never: str = ""
    cause: str = ""
    check: str = ""
    fix: str = ""
    proves: bool = False

    def matches(self, error: Mapping[str, Any]) -> bool:
        """Check whether an error is this refusal."""
        by_fields = error["code"] in self.codes or bool(self.types and error["type_name"].endswith(self.types))
        return by_fields or self.found(error["message"]) is not None

    def found(self, message: str) -> Mapping[str, str] | None:
        """Return the fields that a message contains, or None if it does not contain the text."""
        found = re.search(self.pattern, message) if self.pattern else None
        return {name: text for name, text in found.groupdict().items() if text} if found else None

    @property
    def lines(self) -> Iterator[Line]:
        """Yield the cause, the check and the fix, each as a line for display."""
        for name in ("cause", "check", "fix"):
            if text := getattr(self, name):
                yield Line(f"{name.capitalize()}: {text}")


def copied(text: str, rows: tuple[Published, ...]) -> Mapping[str, str]:
    """Return the fields of an error of which only the text is known, with the published code or type that it contains."""

    def within(known: Iterable[str]) -> str:
        return next((one for one in known if re.search(rf"\b{re.escape(one)}\b", text)), "")

    code = within(one for row in rows for one in row.codes)
    return {"message": text, "code": code, "type_name": within(one for row in rows for one in row.types)}


def find(error: Mapping[str, Any], rows: tuple[Published, ...]) -> Published | None:
    """Return the first row that is this error, or None. ``error`` has ``message``, ``code`` and ``type_name``."""
    return next((row for row in rows if row.matches(error)), None)
