"""Packages of like modules find their members themselves: to add one is to add a file."""

import pkgutil
from collections.abc import Iterable, Sequence
from importlib import import_module


def import_members(package: str, path: Iterable[str], *, first: Sequence[str] = ()) -> None:
    """Import every module of a package of kqlmi, each of which registers what it holds.

    ``path`` is the package's ``__path__``. The modules that ``first`` names come first, in that order; the others follow
    by name.
    """
    found = sorted(module.name for module in pkgutil.iter_modules(path))
    for name in (*first, *(name for name in found if name not in first)):
        import_module(f"{package}.{name}")
