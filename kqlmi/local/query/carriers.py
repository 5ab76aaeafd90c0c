"""How a part of a query that reaches beyond the engine finds the function that carries it out."""

from collections.abc import Callable

from kqlmi.local.query.expansion import Expansion, Source
from kqlmi.local.query.external_calls import Site
from kqlmi.local.state.state import Database

Carrier = Callable[[Expansion, Site, Database], Source]

READERS: dict[str, Carrier] = {}
PLUGINS: dict[str, Carrier] = {}


def reader(name: str) -> Callable[[Carrier], Carrier]:
    """Register what carries out ``name(…)`` in the place of a table."""
    return _registrar(READERS, name)


def plugin(*names: str) -> Callable[[Carrier], Carrier]:
    """Register what carries out ``evaluate name(…)``."""
    return _registrar(PLUGINS, *names)


def _registrar(registry: dict[str, Carrier], *names: str) -> Callable[[Carrier], Carrier]:
    def register(function: Carrier) -> Carrier:
        registry.update(dict.fromkeys(names, function))
        return function

    return register
