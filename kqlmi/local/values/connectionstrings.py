"""Storage connection strings: the location of the data, and the identity that opens it."""

import re
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote, urlsplit

from kqlmi.local.values.faults import KustoError, bad_request

_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_CONTAINER = re.compile(r"[a-z0-9](?:-?[a-z0-9]){2,62}|\$(?:web|root|logs)")
_HOST = re.compile(r"([^.]*)\.(blob|dfs)\.core\.(windows\.net|usgovcloudapi\.net|chinacloudapi\.cn)")
_PUBLIC = "windows.net"
_ONELAKE = re.compile(r"(?:[a-z0-9-]*-)?onelake\.(?:blob|dfs)\.fabric\.microsoft\.com")
_ELSEWHERE = re.compile(r"[^.]*\.azuredatalakestore\.net|.*\.amazonaws\.com")
# Characters with a special meaning in file systems, in DuckDB's file names or in a shell.
_ODD = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|\[\]{}]')
_IDENTITY = "managed_identity="
_NAMED = re.compile(r"\s*managed_?identity\s*=([^;]*)", re.IGNORECASE)
_LONGEST = 1024
_LONGEST_PART = 200
_STORAGE_IDENTITY = re.compile(rf";{_NAMED.pattern}", re.IGNORECASE)
_SQL_USER = re.compile(r"(?:^|;)\s*User Id\s*=\s*\"?([^;\"]*)", re.IGNORECASE)
_SQL_IDENTITY = re.compile(
    r"(?:^|;)\s*Authentication\s*=\s*\"?Active Directory Managed Identity\"?\s*(?:;|$)", re.IGNORECASE
)
_KINDS = "https://<account>.blob.core.windows.net/<container> or abfss://<container>@<account>.dfs.core.windows.net/"


@dataclass(frozen=True)
class Location:
    """A container, or a folder or blob in it; in OneLake, a workspace or a path in it.

    ``account`` includes the domain of a cloud other than the public one. ``root`` is the URL of the container; ``path`` is
    decoded, and empty for the container itself. ``identity`` is an object ID or ``system``; a location that has no identity
    and does not impersonate cannot be opened.
    """

    account: str
    container: str
    root: str
    path: str
    identity: str = ""
    impersonates: bool = False

    @property
    def is_onelake(self) -> bool:
        """Check whether the location is in OneLake, which the local cluster does not support."""
        return _ONELAKE.fullmatch(self.account) is not None

    @property
    def url(self) -> str:
        """The URL, without credentials."""
        return f"{self.root}/{quote(self.path, safe='/=')}" if self.path else self.root

    @property
    def shown(self) -> str:
        """The connection string for display; the identity in it is not a secret."""
        if self.identity:
            return f"{self.url};{_IDENTITY}{self.identity}"
        return f"{self.url};impersonate" if self.impersonates else self.url

    def blob(self, path: str) -> "Location":
        """Return the location of a blob by its path in the container."""
        return replace(self, path=path)


def parse(text: str) -> Location:
    """Read a connection string; an error never repeats unsupported credentials."""
    url, semicolon, credentials = text.strip().partition(";")
    location = _located(url.strip())
    if not semicolon:
        return location
    if credentials.strip() == "impersonate":
        return replace(location, impersonates=True)
    named = _NAMED.fullmatch(credentials)
    if not named:
        raise _refused(
            "the local cluster does not support keys and tokens; use ';managed_identity=<object ID>', "
            "';managed_identity=system' or ';impersonate'"
        )
    identity = named[1].strip()
    if not identity:
        raise _refused("'managed_identity=' must be followed by 'system' or by the object ID of an identity")
    return replace(location, identity=identity)


def named_identities(connection: str) -> list[str]:
    """Return the managed identities named in a connection string of any service."""
    found = [identity.strip() for identity in _STORAGE_IDENTITY.findall(connection)]
    if _SQL_IDENTITY.search(connection):
        user = _SQL_USER.search(connection)
        found.append(user[1].strip() if user else "system")
    return found


def _located(url: str) -> Location:
    if "?" in url or "#" in url:
        raise _refused(
            "the local cluster does not support shared access signatures; remove the part after '?' or '#' from the URL"
        )
    try:
        parts = urlsplit(url)
        name = parts.netloc.rpartition("@")[2].lower()
    except ValueError:
        name = ""
    host, is_onelake = _HOST.fullmatch(name), bool(_ONELAKE.fullmatch(name))
    if _ELSEWHERE.fullmatch(name):
        raise _refused(f"the local cluster does not support this kind of storage; use {_KINDS}")
    if not (host or is_onelake) or parts.scheme not in {"https", "abfss"}:
        raise _refused(f"the URL is not that of a storage account; use {_KINDS}")
    if parts.scheme == "abfss":
        container, path = parts.netloc.rpartition("@")[0], parts.path[1:]
        root = f"abfss://{container}@{name}"
    else:
        container, _, path = parts.path[1:].partition("/")
        root = f"https://{name}/{container}"
    is_odd = ".blob." in name if parts.scheme == "abfss" else "@" in parts.netloc
    if is_onelake:
        if is_odd or not checked_path(unquote(container)) or "/" in unquote(container):
            raise _refused("the URL does not contain a valid OneLake workspace")
        return Location(name, container, root, _path(path))
    account, _, cloud = host.groups() if host else ("", "", "")
    if is_odd or not _ACCOUNT.fullmatch(account) or not _CONTAINER.fullmatch(container):
        raise _refused(f"the URL does not contain a valid account and container; use {_KINDS}")
    return Location(account if cloud == _PUBLIC else f"{account}.{cloud}", container, root, _path(path))


def _path(encoded: str) -> str:
    try:
        path = unquote(encoded, errors="strict").removesuffix("/")
    except UnicodeDecodeError:
        raise _refused("the path of the URL is not valid UTF-8") from None
    return checked_path(path)


def checked_path(path: str) -> str:
    """Return the path of a blob or folder; refuse one that a file system or DuckDB would interpret differently."""
    for segment in path.split("/") if path else []:
        if segment in {"", ".", ".."} or segment != segment.strip(" .") or _ODD.search(segment):
            raise _refused(
                "a part of a blob path must not be empty, begin or end with a space or a dot, or contain a control "
                'character or any of \\ : * ? " < > | [ ] { }'
            )
        if len(segment.encode()) > _LONGEST_PART or len(path) > _LONGEST:
            raise _refused(
                f"a blob path must not exceed {_LONGEST} characters, or {_LONGEST_PART} bytes between slashes"
            )
    return path


def _refused(what: str) -> KustoError:
    return bad_request(f"Storage connection string: {what}")
