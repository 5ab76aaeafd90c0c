"""The lines that open a gate, each safe to copy. If a value cannot be written safely, there is no line."""

import re
from typing import Final

from kqlmi.model.entities import SYSTEM, Scope, is_guid
from kqlmi.model.kql import quoting
from kqlmi.model.policy.access import without_effect

ROLE: Final = re.compile(r"(?:Storage Blob|Azure Event Hubs) Data \w+")
_PLAIN_URL: Final = re.compile(r"[a-z]+://[A-Za-z0-9$._/@-]+")
_RESOURCE: Final = re.compile(r"/subscriptions/[A-Za-z0-9$._/-]+")
_KIND: Final = re.compile(r"[a-z_]+")
_STORAGE: Final = re.compile(r"(?:https://([a-z0-9]+)\.(?:blob|dfs)[^/]*/|abfss://)([^/@;?]+)(?:@([a-z0-9]+)\.)?")
_CONTAINER: Final = "Microsoft.Storage/storageAccounts/{}/blobServices/default/containers/{}"


def is_identity(text: str) -> bool:
    """Check whether a string is an object ID or ``system``."""
    return text == SYSTEM or is_guid(text)


def word(text: str) -> str:
    """Return ``text`` as an option's value, quoted if needed, or nothing if it contains glob characters or cannot be quoted."""
    if not text.isprintable() or set(text) & set("*?[]") or {"'", '"'} <= set(text):
        return ""
    if re.fullmatch(r"[\w.-]+", text):
        return text
    return f'"{text}"' if '"' not in text else f"'{text}'"


def cell(command: str, on: str) -> tuple[str, ...]:
    """Return the notebook cell that runs a command, or nothing if the connection's name cannot be written."""
    name = f" --on={word(on)}" if on else ""
    return (f"%%kqlmi{name}\n{command}",) if not name.endswith("=") else ()


def grant(identity: str, usage: str, scope: Scope, on: str = "") -> tuple[str, ...]:
    """Return the ``%kqlmi grant`` line for one usage in a scope, or in the cluster if it has an effect only there."""
    return change("grant", identity, (usage,), Scope.cluster() if without_effect(scope, usage) else scope, on)


def change(verb: str, identity: str, usages: tuple[str, ...], scope: Scope, on: str) -> tuple[str, ...]:
    """Return the line that grants or revokes usages in a scope, or nothing if it cannot be written safely."""
    where = "--cluster" if scope.is_cluster else f"--database={word(str(scope.name))}"
    words = [f"%kqlmi {verb}", identity, ",".join(usages), where, *([f"--on={word(on)}"] if on else [])]
    is_safe = is_identity(identity) and all(map(str.isalnum, usages)) and not any(one.endswith("=") for one in words)
    return (" ".join(words),) if is_safe else ()


def is_plain(name: str) -> bool:
    """Check whether a name can be written on a line without quotes."""
    return bool(re.fullmatch(r"\w[\w-]*", name))


def assign(name: str, on: str = "") -> str:
    """Return the ``%kqlmi assign`` line for ``system`` or a name; ``NAME`` replaces a name that is unknown or unsafe."""
    known = name if is_plain(name) else "NAME"
    return f"%kqlmi assign {known}" + (f" --on={word(on) or 'SESSION'}" if on else "")


def callout(kind: str, url: str, on: str, *, whole: bool = True) -> tuple[str, ...]:
    """Return the cell that allows callouts to a URL or, if not ``whole``, to every URL that begins with it."""
    if not _KIND.fullmatch(kind) or not _PLAIN_URL.fullmatch(url):
        return ()
    pattern = f"^{re.escape(url)}{'$' if whole else ''}".replace("\\", "\\\\")
    payload = f'[{{"CalloutType": "{kind}", "CalloutUriRegex": "{pattern}", "CanCall": true}}]'
    return cell(f".alter-merge cluster policy callout {quoting.literal(payload)}", on)


def viewer(principal: str, database: str, on: str) -> tuple[str, ...]:
    """Return the cell that makes a principal a viewer of a database."""
    return add_role("database viewers", database, principal, on)


def add_role(role: str, entity: str, principal: str, on: str, database: str = "") -> tuple[str, ...]:
    """Return the cell that adds a principal to a role, such as ``table ingestors``, in an entity of a database."""
    kind, _, name = role.rpartition(" ")
    where = f" --database={word(database)}" if database and kind != "database" else ""
    if where.endswith("="):
        return ()
    made = cell(f".add {kind} {quoting.name(entity)} {name} ({quoting.literal(principal)})", on)
    return tuple(one.replace("%%kqlmi", f"%%kqlmi{where}", 1) for one in made)


def enable(plugin: str, on: str) -> tuple[str, ...]:
    """Return the cell that enables a plugin."""
    return cell(f".enable plugin {plugin}", on)


def azure_role(identity: str, role: str, url: str) -> tuple[str, ...]:
    """Return the Azure CLI line that assigns a role on a container, an event hub, or a resource given by its ID."""
    scope = _azure_scope(url)
    if not scope or not ROLE.fullmatch(role):
        return ()
    who = identity if is_guid(identity) else "<object ID>"
    assignee = f"--assignee-object-id {who} --assignee-principal-type ServicePrincipal"
    return (f'az role assignment create {assignee} --role "{role}" --scope "{scope}"',)


def container(url: str) -> tuple[str, str] | None:
    """Return the storage account and the container in a URL, or None if it is not a URL of Azure Storage."""
    found = _STORAGE.match(url)
    account = (found[1] or found[3] or "") if found else ""
    return (account, found[2]) if found and account else None


def _azure_scope(url: str) -> str:
    """Return the scope of a container or event hub, with placeholders for what its URL lacks, or a resource ID unchanged."""
    if _RESOURCE.fullmatch(url):
        return url
    group = "/subscriptions/<subscription>/resourceGroups/<group>/providers"
    if not _PLAIN_URL.fullmatch(url):
        return ""
    if found := container(url):
        return f"{group}/{_CONTAINER.format(*found)}"
    if url.startswith("sb://"):
        host, _, hub = url.removeprefix("sb://").partition("/")
        return f"{group}/Microsoft.EventHub/namespaces/{host.partition('.')[0]}/eventhubs/{hub}"
    return ""
