"""How a part of a query that reaches beyond the engine finds the function that carries it out."""

from collections.abc import Callable

from kqlmi.local.query.expansion import Carrier, Carriers

_READERS: dict[str, Carrier] = {}
_PLUGINS: dict[str, Carrier] = {}

CARRIERS = Carriers(_READERS, _PLUGINS)
"""All that are registered."""


def reader(name: str) -> Callable[[Carrier], Carrier]:
    """Register what carries out ``name(…)`` in the place of a table."""
    return _registrar(_READERS, name)


def plugin(*names: str) -> Callable[[Carrier], Carrier]:
    """Register what carries out ``evaluate name(…)``."""
    return _registrar(_PLUGINS, *names)


def _registrar(registry: dict[str, Carrier], *names: str) -> Callable[[Carrier], Carrier]:
    def register(function: Carrier) -> Carrier:
        registry.update(dict.fromkeys(names, function))
        return function

    return register
