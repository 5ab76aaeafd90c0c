"""Tests that a public method is named, in help, completion and stack traces, after the class and module that contain it."""

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from functools import cached_property
from importlib import import_module
from typing import Any

import pytest
from tornado.web import RequestHandler

import kqlmi
from kqlmi.session import Session


def written(value: Any) -> Iterator[Callable[..., Any]]:
    """Yield the functions that implement a member of a class."""
    match value:
        case property():
            yield from filter(None, (value.fget, value.fset, value.fdel))
        case cached_property():
            yield value.func
        case classmethod() | staticmethod():
            yield value.__func__
        case _ if inspect.isfunction(value):
            yield value


def misnamed(cls: type) -> list[str]:
    """Return the public methods of a class whose own name differs from the name under which they are found."""
    return [
        f"{cls.__module__}.{cls.__qualname__}.{name} calls itself {function.__module__}.{function.__qualname__}"
        for name, value in vars(cls).items()
        if not name.startswith("_")
        for function in written(value)
        if (function.__module__, function.__qualname__) != (cls.__module__, f"{cls.__qualname__}.{name}")
    ]


def public_classes() -> list[type]:
    """Return each public class of kqlmi and its modules once, except request handlers, whose methods tornado names."""
    found: dict[str, type] = {}
    modules = [one.name for one in pkgutil.walk_packages(kqlmi.__path__, "kqlmi.") if not one.name.endswith("__main__")]
    for module in [kqlmi, *map(import_module, modules)]:
        for name in getattr(module, "__all__", vars(module)):
            value = getattr(module, name)
            if inspect.isclass(value) and not name.startswith("_") and _is_ours(value):
                found[f"{value.__module__}.{value.__qualname__}"] = value
    return list(found.values())


def _is_ours(cls: type) -> bool:
    return cls.__module__.startswith("kqlmi") and not issubclass(cls, RequestHandler)


@pytest.mark.parametrize("cls", public_classes(), ids=lambda cls: f"{cls.__module__}.{cls.__qualname__}")
def test_every_public_method_is_named_after_where_it_is_written(cls: type) -> None:
    assert misnamed(cls) == []


def test_every_public_method_of_a_session_is_written_in_its_class_with_types_and_a_docstring() -> None:
    methods = {name: value for name, value in inspect.getmembers(Session, inspect.isfunction) if name[0] != "_"}
    assert len(methods) >= 40
    assert methods.keys() <= vars(Session).keys()
    for method in methods.values():
        assert inspect.getdoc(method)
        signature = inspect.signature(method)
        assert signature.return_annotation is not signature.empty
        own = list(signature.parameters.values())[1:]
        assert [one.name for one in own if one.annotation is one.empty] == []


def test_the_walk_sees_a_borrowed_method() -> None:
    class Borrowing:
        grant = Session.grant

    assert len(misnamed(Borrowing)) == 1
