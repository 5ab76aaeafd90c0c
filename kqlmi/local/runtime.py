"""The file by which ``connect("local")`` finds a cluster that a shell runs."""

import contextlib
import json
import os
import secrets
import time
import urllib.error
import urllib.request
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_runtime_path

from kqlmi import local
from kqlmi.errors import InputError

if TYPE_CHECKING:
    from kqlmi.local.cluster import LocalCluster

_NAME = "local-cluster.json"
_SECONDS = 5
_HERE = "http://127.0.0.1:"


@dataclass(frozen=True, slots=True)
class Running:
    """A cluster that a shell runs; ``ingest_url`` is empty where it does not tell."""

    url: str
    token: str = field(repr=False)
    ingest_url: str = ""


def find() -> Running | None:
    """Give a cluster that answers; a file that nobody serves any more is passed over."""
    try:
        if hasattr(os, "getuid") and path().stat().st_uid != os.getuid():
            return None  # whoever wrote it would read what is sent
        content = json.loads(path().read_text(encoding="utf-8"))
        url, token, ingest_url = content["url"], content["token"], content.get("ingest_url", "")
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not isinstance(ingest_url, str) or not ingest_url.startswith(_HERE):
        ingest_url = ""  # as of an older version
    return Running(url, token, ingest_url) if _answers(url, token) else None


def serve(*, port: int = 0) -> None:
    """Start a cluster unless one runs, write the file, and wait for an interrupt; then delete the file and stop."""
    if running := find():
        raise InputError(
            f"A local cluster runs already at {running.url}.", hint="Join it by %kqlmi connect local, or stop it first."
        )
    with local.start(port=port) as cluster:
        try:
            _write(cluster)
        except OSError as error:
            raise InputError(
                f"The file {path()} cannot be written: {error.strerror}.",
                hint="Set XDG_RUNTIME_DIR to a folder that you own.",
            ) from error
        try:
            print(f"The local cluster runs at {cluster.url}", flush=True)  # noqa: T201 - the command's own output
            print(f"Its token is in {path()}; stop it with Ctrl+C", flush=True)  # noqa: T201
            with contextlib.suppress(KeyboardInterrupt):
                while True:
                    time.sleep(3600)  # on Windows Ctrl+C ends a sleep, but not the wait for a lock
        finally:
            _remove(cluster.token)


def path() -> Path:
    """Give where the file is."""
    with warnings.catch_warnings():
        # Without XDG_RUNTIME_DIR, as in many containers, it names a folder in the temporary one, and says so each time.
        warnings.simplefilter("ignore")
        return user_runtime_path("kqlmi", appauthor=False) / _NAME


def _write(cluster: "LocalCluster") -> None:
    target = path()
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    target.parent.chmod(0o700)
    draft = target.with_name(f"{_NAME}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"url": cluster.url, "token": cluster.token, "ingest_url": cluster.ingest_url}, file)
    draft.replace(target)


def _remove(token: str) -> None:
    """Delete the file unless another cluster has written its own since."""
    with contextlib.suppress(OSError, ValueError):
        if json.loads(path().read_text(encoding="utf-8")).get("token") == token:
            path().unlink()


def _answers(url: object, token: object) -> bool:
    if not isinstance(url, str) or not isinstance(token, str) or not url.startswith(_HERE):
        return False
    request = urllib.request.Request(  # noqa: S310 - loopback, see above
        f"{url}/v1/rest/mgmt",
        data=json.dumps({"db": None, "csl": ".show version"}).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    # A proxy of the environment must see neither the request nor the token.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_SECONDS) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004 - HTTP
    except (OSError, ValueError):
        return False
