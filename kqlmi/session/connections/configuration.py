"""The connections that the user's configuration file names, and what the environment says of one."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from kqlmi.cluster.connection import DEFAULT_TIMEOUT
from kqlmi.credentials import MODES
from kqlmi.errors import InputError, printable
from kqlmi.model.entities import did_you_mean
from kqlmi.session.connections.addresses import is_name, url_of

# What a connection in the file may say, by the parameters of `connect`. None of it is a secret.
KEYS: Final[Mapping[str, type]] = {
    "cluster": str,
    "database": str,
    "auth": str,
    "tenant": str,
    "sign_in_identity": str,
    "audience": str,
    "read_only": bool,
    "history": bool,
    "timeout": float,
    "resource_id": str,
    "ingest_url": str,
}
SIGNING_IN: Final = frozenset({"auth", "token", "credential", "tenant", "sign_in_identity", "audience"})
DEFAULTS: Final[Mapping[str, Any]] = {
    **dict.fromkeys([*KEYS, "name"], ""),
    "auth": "default",
    "read_only": False,
    "history": True,
    "timeout": DEFAULT_TIMEOUT,
    "arm_options": None,
}
_ENVIRONMENT: Final = {"KQLMI_CLUSTER": "cluster", "KQLMI_DATABASE": "database", "KQLMI_AUTH": "auth"}


def path() -> Path:
    """Return where the file is: what ``$KQLMI_CONFIG`` names, or ``config.toml`` in the user's configuration folder."""
    from platformdirs import user_config_path

    chosen = os.environ.get("KQLMI_CONFIG")
    return Path(chosen) if chosen else user_config_path("kqlmi", appauthor=False) / "config.toml"


def environment() -> dict[str, Any]:
    """Return what KQLMI_CLUSTER, KQLMI_DATABASE and KQLMI_AUTH say, by the parameters of ``connect``."""
    return {key: os.environ[name] for name, key in _ENVIRONMENT.items() if os.environ.get(name)}


def settings(cluster: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return how to connect to a cluster: by the arguments, else by the file, the environment, or a default.

    Without a cluster that of the environment is meant, and what stands beside it there goes before the file. Tenant,
    identity and audience go with the way to sign in: those below the first that is given do not count.

    Raises:
        InputError: No cluster is given, or the file does not have it.
    """
    beside = environment()
    own = beside.pop("cluster", "")
    if not cluster and not own:
        raise InputError(
            "No cluster is said.", hint="Name one: local, mycluster.westeurope or a URL; or set KQLMI_CLUSTER."
        )
    # The database of the environment is one of its cluster.
    auth = {key: value for key, value in beside.items() if key == "auth"}
    found: dict[str, Any] = {}
    for layer in (arguments, _named(cluster), auth) if cluster else (arguments, beside, _named(own)):
        ignored = SIGNING_IN if found.keys() & {"auth", "token", "credential"} else frozenset()
        found = {key: value for key, value in layer.items() if key not in ignored} | found
    return {**DEFAULTS, **found}


def _named(cluster: str) -> Mapping[str, Any]:
    """Return what the file says of a connection by its name; of a URL, a short name or ``local`` only that."""
    if cluster == "local" or not is_name(cluster):
        return {"cluster": cluster, "name": "local" if cluster == "local" else ""}
    found = connections()
    if cluster not in found:
        raise InputError(
            f"There is no connection {cluster!r} in the configuration file.",
            hint=f"{did_you_mean(cluster, ['local', *found])} A cluster's short name has its region: {cluster}.westeurope.",
        )
    one = found[cluster]
    if isinstance(one, InputError):
        raise one
    return {"name": cluster, **one}


def connections() -> dict[str, dict[str, Any] | InputError]:
    """Return the connections of the file by name, each with what it says, or what is wrong with it; none without a file.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        with path().open("rb") as file:
            found = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _wrong(f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise _wrong("is not UTF-8") from None
    except ValueError as error:
        # The place, but no text of the file: somebody may have written a secret into it.
        place = str(error).rpartition("(at ")[2].rstrip(")")
        raise _wrong(f"is not TOML, at {place}") from None
    for key in found.keys() - {"connections"}:
        raise _wrong(f"says {printable(key)!r}, which is nothing to configure")
    named = found.get("connections", {})
    if not isinstance(named, dict) or not all(isinstance(one, dict) for one in named.values()):
        raise _wrong("has no tables below [connections]")
    return {name: _read(name, table) for name, table in named.items()}


def _read(name: str, table: Mapping[str, Any]) -> dict[str, Any] | InputError:
    try:
        return _checked(name, table)
    except InputError as error:
        return error


def _checked(name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    where = f"[connections.{printable(name)}]"
    if not is_name(name):
        raise _wrong(f"has a connection {printable(name)!r}, which nobody can type")
    for key, value in table.items():
        if key not in KEYS:
            hint = f"{did_you_mean(key, KEYS)} Secrets have no place in it."
            raise _wrong(f"says {printable(key)!r} in {where}, which no connection has", hint=hint)
        # In TOML, 60 is no float.
        if type(value) is not KEYS[key] and not (KEYS[key] is float and type(value) is int):
            raise _wrong(f"says {key} in {where} as something else than a {KEYS[key].__name__}")
    if not table.get("cluster"):
        raise _wrong(f"does not say the cluster of {where}")
    # What is listed must be known to be no secret; a wrong value may be one, and is not repeated.
    try:
        if table["cluster"] != "local":
            url_of(table["cluster"])
    except InputError:
        raise _wrong(f"says no URL and no short name as the cluster of {where}") from None
    if table.get("auth", "default") not in MODES:
        raise _wrong(f"says no way to sign in as auth in {where}", hint=f"Use one of: {', '.join(MODES)}.")
    return dict(table)


def _wrong(what: str, hint: str = "") -> InputError:
    return InputError(
        f"The configuration file {printable(str(path()))} {what}.",
        hint=hint or 'Write [connections.prod], and below it cluster = "mycluster.westeurope".',
    )
