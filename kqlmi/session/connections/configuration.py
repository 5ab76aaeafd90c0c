"""The connections in the user's configuration file, and the one in the environment."""

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

# The settings of a connection in the file, named as the parameters of `connect`. None of them is a secret.
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
    """Return the path of the file: ``$KQLMI_CONFIG``, or ``config.toml`` in the user's configuration folder."""
    from platformdirs import user_config_path

    chosen = os.environ.get("KQLMI_CONFIG")
    return Path(chosen) if chosen else user_config_path("kqlmi", appauthor=False) / "config.toml"


def environment() -> dict[str, Any]:
    """Return the settings in KQLMI_CLUSTER, KQLMI_DATABASE and KQLMI_AUTH, named as the parameters of ``connect``."""
    return {key: os.environ[name] for name, key in _ENVIRONMENT.items() if os.environ.get(name)}


def settings(cluster: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings for a cluster, from the arguments, or else the file, the environment, or the defaults.

    Without ``cluster``, KQLMI_CLUSTER is used, and the environment takes precedence over the file. Tenant, identity and
    audience belong to a way to sign in: once a source specifies a way, these settings of later sources are ignored.

    Raises:
        InputError: No cluster is specified, or the file has no connection of that name.
    """
    beside = environment()
    own = beside.pop("cluster", "")
    if not cluster and not own:
        raise InputError(
            "No cluster is specified.", hint="Pass local, mycluster.westeurope or a URL, or set KQLMI_CLUSTER."
        )
    # KQLMI_DATABASE belongs to KQLMI_CLUSTER.
    auth = {key: value for key, value in beside.items() if key == "auth"}
    found: dict[str, Any] = {}
    for layer in (arguments, _named(cluster), auth) if cluster else (arguments, beside, _named(own)):
        ignored = SIGNING_IN if found.keys() & {"auth", "token", "credential"} else frozenset()
        found = {key: value for key, value in layer.items() if key not in ignored} | found
    return {**DEFAULTS, **found}


def _named(cluster: str) -> Mapping[str, Any]:
    """Return the settings of a connection in the file, or only the cluster for a URL, a short name or ``local``."""
    if cluster == "local" or not is_name(cluster):
        return {"cluster": cluster, "name": "local" if cluster == "local" else ""}
    found = connections()
    if cluster not in found:
        raise InputError(
            f"The configuration file has no connection {cluster!r}.",
            hint=f"{did_you_mean(cluster, ['local', *found])} A cluster's short name includes its region: {cluster}.westeurope.",
        )
    one = found[cluster]
    if isinstance(one, InputError):
        raise one
    return {"name": cluster, **one}


def connections() -> dict[str, dict[str, Any] | InputError]:
    """Return the connections in the file by name, each with its settings or its error. A missing file has none.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        with path().open("rb") as file:
            found = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(
            f"Cannot read the configuration file {printable(str(path()))}: {error.strerror}.",
            hint="Check its permissions, or set KQLMI_CONFIG to another file.",
        ) from error
    except UnicodeDecodeError:
        raise _wrong("is not UTF-8") from None
    except ValueError as error:
        # Only the position, because the content of the file may be a secret.
        place = str(error).rpartition("(at ")[2].rstrip(")")
        raise _wrong(f"is not valid TOML at {place}") from None
    for key in found.keys() - {"connections"}:
        raise _wrong(f"has an unknown key {printable(key)!r}")
    named = found.get("connections", {})
    if not isinstance(named, dict) or not all(isinstance(one, dict) for one in named.values()):
        raise _wrong("has something other than tables in [connections]")
    return {name: _read(name, table) for name, table in named.items()}


def _read(name: str, table: Mapping[str, Any]) -> dict[str, Any] | InputError:
    try:
        return _checked(name, table)
    except InputError as error:
        return error


def _checked(name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    where = f"[connections.{printable(name)}]"
    if not is_name(name):
        raise _wrong(f"has an invalid name in {where}", hint="Use up to 40 letters, digits, '-' and '_'.")
    for key, value in table.items():
        if key not in KEYS:
            hint = f"{did_you_mean(key, KEYS)} The file must not contain secrets."
            raise _wrong(f"has an unknown key {printable(key)!r} in {where}", hint=hint)
        # In TOML, 60 is not a float.
        if type(value) is not KEYS[key] and not (KEYS[key] is float and type(value) is int):
            raise _wrong(f"sets {key} in {where} to something other than a {KEYS[key].__name__}")
    if not table.get("cluster"):
        raise _wrong(f"does not set cluster in {where}")
    # Listed values must not be secrets; an invalid value may be one, so errors do not quote it.
    try:
        if table["cluster"] != "local":
            url_of(table["cluster"])
    except InputError:
        raise _wrong(f"sets cluster in {where} to something other than a URL or short name") from None
    if table.get("auth", "default") not in MODES:
        raise _wrong(f"sets auth in {where} to an unknown sign-in mode", hint=f"Use one of: {', '.join(MODES)}.")
    return dict(table)


def _wrong(what: str, hint: str = "") -> InputError:
    return InputError(
        f"The configuration file {printable(str(path()))} {what}.",
        hint=hint or 'Write a section [connections.prod] with cluster = "mycluster.westeurope".',
    )
