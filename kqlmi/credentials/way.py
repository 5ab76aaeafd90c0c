"""What a way to sign in is, and how a function becomes one."""

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kqlmi.errors import InputError, printable

_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")

Credential = tuple[str, Mapping[str, Any]]
"""The name of a class of ``azure.identity`` and its arguments, without those that name the authority."""


def to_stderr(text: str) -> None:
    """Write a line to standard error."""
    sys.stderr.write(f"{text}\n")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options of a sign-in; ``tell`` is called with what a person has to do, such as entering a code."""

    tenant: str = ""
    sign_in_identity: str = ""
    tell: Callable[[str], None] = to_stderr

    @property
    def tenant_id(self) -> dict[str, Any]:
        """Return the argument that names the tenant, where there is one."""
        return {"tenant_id": self.tenant} if self.tenant else {}


Prepare = Callable[[Wanted], Credential]


@dataclass(frozen=True, slots=True)
class Way:
    """A way to sign in: ``prepare`` checks what it needs, and sends nothing.

    ``hint`` is what to type after it failed. ``entra`` tells whether it asks the authority of the cluster's cloud,
    ``options`` which of ``tenant`` and ``sign_in_identity`` it takes.
    """

    prepare: Prepare
    hint: str
    entra: bool
    options: frozenset[str]


WAYS: dict[str, Way] = {}


def way(name: str, *options: str, hint: str, entra: bool = True) -> Callable[[Prepare], Prepare]:
    """Register a function as the way to sign in of that name; see ``Way``."""

    def register(prepare: Prepare) -> Prepare:
        WAYS[name] = Way(prepare, hint, entra, frozenset(options))
        return prepare

    return register


def checked_tenant(text: str) -> str:
    """Return a tenant's ID or domain; InputError where it is neither."""
    if text and not _TENANT.fullmatch(text):
        raise InputError(f"{printable(text)!r} is no tenant.", hint="Write its ID, or a domain of it.")
    return text


def environment(name: str, *, otherwise: str = "") -> str:
    """Return an environment variable; InputError where it is not set, naming what would do as well."""
    value = os.environ.get(name, "")
    if not value:
        raise InputError(f"Signing in this way needs the environment variable {name}{otherwise}.")
    return value
