"""The file through which ``connect("local")`` finds a cluster that ``kqlmi local serve`` runs."""

import contextlib
import errno
import json
import os
import stat
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from platformdirs import user_runtime_path

from kqlmi import atomicfile
from kqlmi.errors import InputError
from kqlmi.local.azure import loopback
from kqlmi.local.cluster import LocalCluster

_NAME = "local-cluster.json"
_SECONDS = 5
_HERE = "http://127.0.0.1:"
_OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class Running:
    """A cluster in another process: its addresses, and the tokens for it and for its Azure Resource Manager routes."""

    url: str
    token: str = field(repr=False)
    ingest_url: str = ""
    resource_id: str = ""
    arm_token: str = field(default="", repr=False)

    @property
    def arm_options(self) -> dict[str, Any]:
        """Keyword arguments for azure-mgmt clients, like those of a ``LocalCluster``."""
        return loopback.options(self.url, self.arm_token)


def find() -> Running | None:
    """Return the running cluster, or None if there is no file or the cluster in it no longer responds.

    Raises:
        InputError: The file was not written by ``serve`` for this user.
    """
    content = _read()
    if content is None:
        return None
    try:
        found = Running(**json.loads(content))
    except (ValueError, TypeError, RecursionError):
        raise _strange("was not written by kqlmi local serve") from None  # the content may be secret
    texts = asdict(found).values()
    if not all(isinstance(one, str) for one in texts) or not all(
        url.startswith(_HERE) for url in (found.url, found.ingest_url or _HERE)
    ):
        raise _strange("was not written by kqlmi local serve")
    return found if _answers(found) else None


def _read() -> bytes | None:
    """Return the content of the file, if any. Raise if another user can write it: it names the server that gets the token."""
    try:
        # Without O_NONBLOCK, opening a pipe would block.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        descriptor = os.open(path(), flags)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _strange("is a link" if error.errno == errno.ELOOP else f"cannot be read: {error.strerror}") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise _strange("is not a regular file")
        if hasattr(os, "getuid") and found.st_uid != os.getuid():
            raise _strange("belongs to another user")
        if os.name == "posix" and found.st_mode & _OTHERS:
            raise _strange("can be read or written by other users")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def _strange(why: str) -> InputError:
    return InputError(
        f"The file of the local cluster, {path()}, {why}.",
        hint="Delete it, or set XDG_RUNTIME_DIR to a folder that only you can use.",
    )


def serve(start: Callable[[], LocalCluster]) -> None:
    """Start a cluster unless one is running, write the file, and wait for an interrupt; then delete the file and stop."""
    if running := find():
        raise InputError(
            f"A local cluster is already running at {running.url}.",
            hint="Connect to it with %kqlmi connect local, or stop it first.",
        )
    with start() as cluster:
        try:
            _write(cluster)
        except OSError as error:
            raise InputError(
                f"Cannot write the file {path()}: {error.strerror}.",
                hint="Set XDG_RUNTIME_DIR to a folder that you own.",
            ) from error
        try:
            print(f"The local cluster is running at {cluster.url}", flush=True)  # noqa: T201 - the command's own output
            print(f"Its token is in {path()}. Press Ctrl+C to stop it.", flush=True)  # noqa: T201
            with contextlib.suppress(KeyboardInterrupt):
                while True:
                    time.sleep(3600)  # on Windows, Ctrl+C ends a sleep, but not a wait for a lock
        finally:
            _remove(cluster.token)


def path() -> Path:
    """Return the path of the file."""
    with warnings.catch_warnings():
        # Without XDG_RUNTIME_DIR, as in many containers, platformdirs uses a temporary folder and warns each time.
        warnings.simplefilter("ignore")
        return user_runtime_path("kqlmi", appauthor=False) / _NAME


def _write(cluster: LocalCluster) -> None:
    running = Running(cluster.url, cluster.token, cluster.ingest_url, cluster.resource_id, cluster.arm_token)
    target = path()
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    target.parent.chmod(0o700)
    atomicfile.write(target, json.dumps(asdict(running)).encode(), private=True)


def _remove(token: str) -> None:
    """Delete the file, unless another cluster has overwritten it since."""
    with contextlib.suppress(OSError, ValueError, InputError):
        if json.loads(_read() or b"{}").get("token") == token:
            path().unlink()


def _answers(found: Running) -> bool:
    request = urllib.request.Request(  # noqa: S310 - loopback, as find has checked
        f"{found.url}/v1/rest/mgmt",
        data=json.dumps({"db": None, "csl": ".show version"}).encode(),
        headers={"Authorization": f"Bearer {found.token}", "Content-Type": "application/json"},
    )
    # A proxy from the environment must see neither the request nor the token.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_SECONDS) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004 - HTTP
    except (OSError, ValueError):
        return False
