"""A Jupyter extension that controls what each managed identity of an Azure Data Explorer cluster may be used for."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kqlmi.errors import KqlmiError

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from kqlmi import local, model
    from kqlmi.model.entities import Identity, Scope
    from kqlmi.model.plan.draft import Draft
    from kqlmi.model.plan.plan import Plan
    from kqlmi.model.policy.policy import Policy
    from kqlmi.notebook.panel.panel import Panel
    from kqlmi.session import Session, connect

__version__ = "0.2.0"
__all__ = [
    "Draft",
    "Identity",
    "KqlmiError",
    "Panel",
    "Plan",
    "Policy",
    "Scope",
    "Session",
    "connect",
    "local",
    "model",
]

_HOMES = {
    "Draft": "kqlmi.model.plan.draft",
    "Identity": "kqlmi.model.entities",
    "Panel": "kqlmi.notebook.panel.panel",
    "Plan": "kqlmi.model.plan.plan",
    "Policy": "kqlmi.model.policy.policy",
    "Scope": "kqlmi.model.entities",
    "Session": "kqlmi.session",
    "connect": "kqlmi.session",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in {"local", "model"}:
        return import_module(f"kqlmi.{name}")
    raise AttributeError(f"module 'kqlmi' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]


def load_ipython_extension(shell: "InteractiveShell") -> None:
    """Register the magics ``%kqlmi`` and ``%%kqlmi``."""
    import atexit

    from kqlmi.notebook import inert
    from kqlmi.notebook.completion import matcher
    from kqlmi.notebook.magics import KqlMagics, keep_empty_body

    magics = KqlMagics(shell)
    shell.register_magics(magics)
    shell.input_transformers_cleanup.append(keep_empty_body)
    matcher.install(shell, magics.sessions)
    inert.install(shell)
    atexit.register(magics.sessions.close)


def unload_ipython_extension(shell: "InteractiveShell") -> None:
    """Remove the magic ``kqlmi``, close its sessions and panels, and print what was closed."""
    import atexit

    from kqlmi.notebook import inert
    from kqlmi.notebook.completion import matcher
    from kqlmi.notebook.magics import keep_empty_body

    matcher.remove(shell)
    inert.remove(shell)
    shell.input_transformers_cleanup.remove(keep_empty_body)
    magics = shell.magics_manager.registry.pop("KqlMagics")
    for kind in shell.magics_manager.magics.values():
        kind.pop("kqlmi", None)
    for one in (magics, magics.settings):
        shell.configurables.remove(one)
    atexit.unregister(magics.sessions.close)
    magics.close()
