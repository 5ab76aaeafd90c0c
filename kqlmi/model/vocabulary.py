"""The terms by which a usage can be named: its own name, and the title and ID of each workflow that needs it."""

import difflib
from collections.abc import Collection
from typing import Final

from kqlmi.errors import PolicyError
from kqlmi.model.entities import ALL, known_usage, usage_name
from kqlmi.model.usages import USAGES
from kqlmi.model.workflows import WORKFLOWS

_USAGES: Final = {
    **{row.name: row.name for row in USAGES},
    **{row.title: row.usage for row in WORKFLOWS},
    **{row.id: row.usage for row in WORKFLOWS},
}
_BY_TERM: Final = {term.casefold(): usage for term, usage in _USAGES.items()}


def named_usage(text: str, also: Collection[str] = ()) -> str:
    """Return the usage that a term names, in any letter case; anything else is returned without the blanks around it.

    ``also`` are usages that are in use but not in the catalogue. They take precedence over the terms of workflows.
    """
    name = usage_name(text)
    return name if name in also else _BY_TERM.get(name.casefold(), name)


def checked_usage(text: str, also: Collection[str] = ()) -> str:
    """Return the usage that a term names, or one of ``also``, as ``named_usage`` does.

    Raises:
        PolicyError: The term names no usage.
    """
    usage = named_usage(text, also)
    if known_usage(usage) or usage in also:
        return usage
    raise unknown_usage(text, also)


def unknown_usage(text: str, also: Collection[str] = ()) -> PolicyError:
    """Return the error for a term that names no usage, with a suggestion."""
    return PolicyError(f"Usage {text!r} is not known.", hint=_suggestion(text, also))


def expanded(text: str, also: Collection[str] = ()) -> str:
    """Return the only usage with a term that begins with ``text``, or ``text`` itself; ``also`` is as for ``checked_usage``.

    ``All`` and the cluster-only usages are never abbreviated.
    """
    if (usage := named_usage(text, also)) in also or known_usage(usage):
        return text
    start = text.strip().casefold()
    found = {usage for term, usage in _BY_TERM.items() if start and term.startswith(start)}
    row = known_usage(found.pop()) if len(found) == 1 else None
    return row.name if row and row.name != ALL and not row.cluster_only else text


def _suggestion(text: str, others: Collection[str]) -> str:
    """Return a hint with the usages whose terms begin with a string, contain each of its words, or resemble it most."""
    terms = {**_USAGES, **{usage: usage for usage in others}}
    whole, words = text.strip().casefold(), text.casefold().split()
    found = [term for term in terms if whole and term.casefold().startswith(whole)]
    found = found or [term for term in terms if words and all(word in term.casefold() for word in words)]
    if len({terms[term] for term in found}) not in range(1, 5):
        near = difflib.get_close_matches(whole, map(str.casefold, terms), n=1)
        found = [term for term in terms if term.casefold() in near]
    if not found:
        return f"Known: {', '.join([*(row.name for row in USAGES), *others])}."
    likely: dict[str, str] = {}
    for term in found:
        likely.setdefault(terms[term], term)
    shown = (usage if usage == term else f"{usage} ({term})" for usage, term in likely.items())
    return f"Did you mean {' or '.join(shown)}?"
