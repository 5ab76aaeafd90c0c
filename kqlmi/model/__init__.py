"""What a ManagedIdentity policy is: pure values, no input or output."""

from importlib import import_module
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    try:
        return import_module(f"kqlmi.model.{name}")
    except ModuleNotFoundError:
        raise AttributeError(f"module 'kqlmi.model' has no attribute {name!r}") from None
