"""The import of all modules of a package, so that adding a file adds a member."""

import pkgutil
from collections.abc import Iterable, Sequence
from importlib import import_module


def import_members(package: str, path: Iterable[str], *, first: Sequence[str] = ()) -> None:
    """Import every module of a package of kqlmi, each of which registers its contents.

    ``path`` is the package's ``__path__``. The modules in ``first`` come first, in that order; the others follow by name.
    """
    found = sorted(module.name for module in pkgutil.iter_modules(path))
    for name in (*first, *(name for name in found if name not in first)):
        import_module(f"{package}.{name}")
