"""The definition of a way to sign in, and the decorator that registers it."""

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
    """The options of a sign-in. ``tell`` is called with instructions for the user, such as to enter a code."""

    tenant: str = ""
    sign_in_identity: str = ""
    tell: Callable[[str], None] = to_stderr

    @property
    def tenant_id(self) -> dict[str, Any]:
        """The argument that names the tenant, if one is specified."""
        return {"tenant_id": self.tenant} if self.tenant else {}


Prepare = Callable[[Wanted], Credential]


@dataclass(frozen=True, slots=True)
class Way:
    """A way to sign in. ``prepare`` checks its requirements, and sends nothing.

    ``hint`` is shown after a failure. ``entra`` is True if it uses the authority of the cluster's cloud. ``options``
    contains ``tenant`` and ``sign_in_identity`` if it accepts them.
    """

    prepare: Prepare
    hint: str
    entra: bool
    options: frozenset[str]


WAYS: dict[str, Way] = {}


def way(name: str, *options: str, hint: str, entra: bool = True) -> Callable[[Prepare], Prepare]:
    """Register the decorated function as ``prepare`` of the way to sign in with this name; see ``Way``."""

    def register(prepare: Prepare) -> Prepare:
        WAYS[name] = Way(prepare, hint, entra, frozenset(options))
        return prepare

    return register


def checked_tenant(text: str) -> str:
    """Return a tenant's ID or domain, or raise InputError if ``text`` is neither."""
    if text and not _TENANT.fullmatch(text):
        raise InputError(
            f"{printable(text)!r} is not the ID or domain of a tenant.",
            hint="Use the tenant's ID, or one of its domains.",
        )
    return text


def environment(name: str, *, otherwise: str = "") -> str:
    """Return an environment variable, or raise InputError if it is not set. ``otherwise`` names an alternative."""
    value = os.environ.get(name, "")
    if not value:
        raise InputError(f"Signing in this way requires the environment variable {name}{otherwise}, which is not set.")
    return value
