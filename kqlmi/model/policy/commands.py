"""The text of the policy commands: their only writer, and its reader."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

from kqlmi.errors import InputError, PolicyError
from kqlmi.model.entities import Scope, checked_usage
from kqlmi.model.kql import quoting
from kqlmi.model.kql.brackets import Nest
from kqlmi.model.kql.source_map import joined, literal_value
from kqlmi.model.kql.tokenizer import Token
from kqlmi.model.policy.policy import Policy

Verb = Literal["show", "alter", "alter-merge", "delete"]


def show(scope: Scope) -> str:
    """Return the command that reads a scope's policy."""
    return f".show {_target(scope)} policy managed_identity"


def alter(scope: Scope, policy: Policy) -> str:
    """Return the command that replaces a scope's policy."""
    return f".alter {_target(scope)} policy managed_identity {quoting.fence(policy.to_json())}"


def alter_merge(scope: Scope, policy: Policy) -> str:
    """Return the command that adds identities and usages to a scope's policy."""
    return f".alter-merge {_target(scope)} policy managed_identity {quoting.fence(policy.to_json())}"


def delete(scope: Scope) -> str:
    """Return the command that deletes a scope's policy."""
    return f".delete {_target(scope)} policy managed_identity"


def _target(scope: Scope) -> str:
    return "cluster" if scope.name is None else f"database {quoting.name(scope.name)}"


@dataclass(frozen=True, slots=True)
class PolicyCommand:
    """A policy command as it was read.

    ``scope`` is None for the database in context. ``payload`` is the decoded literal, or those that stand beside each
    other joined, None where there is none. ``piped`` says that something follows, so that the answer need not be a policy.
    """

    verb: Verb
    scope: Scope | None
    payload: str | None
    piped: bool


def read(text: str, tokens: Sequence[Token]) -> PolicyCommand | None:
    """Read the policy command that a text is in any spelling that the service accepts; None for anything else, a script among it."""
    command, rest = _parse(tokens, text)
    if command is None or rest is None or (rest and rest[0].text not in {"|", ";"}):
        return None
    return replace(command, piped=any(token.text != ";" for token in rest))


def writes(text: str, commands: Sequence[Nest]) -> tuple[PolicyCommand, ...]:
    """Return the policy commands of a text that write: one, or those of an ``.execute … script``, in their order.

    What follows one decides nothing: a command that could write is one, and the service says whether it is whole.
    """
    parts = [nest.tokens for nest in commands]
    words = [token.text for token in parts[0][:4]]
    if words[:2] == [".", "execute"] and words[2:] in (["database", "script"], ["cluster", "script"]):
        parts = parts[1:]
    found = (_parse(part, text)[0] for part in parts[: None if words[1:2] == ["execute"] else 1])
    return tuple(command for command in found if command and command.verb != "show")


def _parse(found: Sequence[Token], text: str) -> tuple[PolicyCommand | None, Sequence[Token] | None]:
    """Read the policy command that tokens begin with, and what follows it; None for that where its payload is broken."""
    verb, found = _verb(found, text)
    if verb is None:
        return None, None
    kind, rest = found[0].text, found[1:]
    scope: Scope | None = None
    try:
        if kind == "cluster":
            scope = Scope.cluster()
        elif kind == "database" and not _starts_policy(rest):
            name, rest = _name(rest, text)
            scope = Scope.database(name)
    except InputError:
        return None, None
    if kind not in {"cluster", "database"} or not _starts_policy(rest):
        return None, None
    rest = rest[2:]
    # The service joins literals that stand beside each other.
    count = next((place for place, token in enumerate(rest) if token.kind != "literal"), len(rest))
    try:
        payload = joined(rest[:count]) if count else None
    except InputError:
        return PolicyCommand(verb, scope, None, piped=True), None
    return PolicyCommand(verb, scope, payload, piped=count < len(rest)), rest[count:]


def expected(command: PolicyCommand, before: Policy | None) -> Policy | None:
    """Return the policy that a policy command leaves where it finds ``before``; PolicyError if its payload is broken."""
    if command.verb == "show":
        return before
    if command.verb != "delete" and command.payload is None:
        raise PolicyError("The command has no policy.", hint="Write it as one string literal.")
    payload = Policy.parse(command.payload)
    if command.verb == "alter-merge":
        return (before or Policy.empty()).merge(payload or Policy.empty())
    return payload


def fault(command: PolicyCommand) -> str:
    """Return what is wrong with a policy command's payload as a hint; empty if nothing is seen."""
    if command.payload is None:
        return ""
    try:
        policy = Policy.parse(command.payload)
        for _, usage in sorted(policy.grants if policy else ()):
            checked_usage(usage)
    except PolicyError as error:
        return str(error)
    return ""


def _verb(found: Sequence[Token], text: str) -> tuple[Verb | None, Sequence[Token]]:
    """Read the verb behind the dot; nothing stands between the three tokens of ``alter-merge``."""
    merge = "".join(token.text for token in found[1:4])
    end = 4 if merge == "alter-merge" and text.startswith(merge, found[1].start) else 2
    verb = text[found[1].start : found[end - 1].end] if len(found) > end and found[0].text == "." else ""
    return (cast("Verb", verb), found[end:]) if verb in get_args(Verb) else (None, [])


def _starts_policy(found: Sequence[Token]) -> bool:
    return [token.text for token in found[:2]] == ["policy", "managed_identity"]


def _name(found: Sequence[Token], text: str) -> tuple[str, Sequence[Token]]:
    """Read a name: a word, a literal, or literals or plain text in brackets."""
    if found and found[0].kind == "word":
        return found[0].text, found[1:]
    if found and found[0].kind == "literal":
        return literal_value(found[0].text), found[1:]
    close = next((place for place, token in enumerate(found) if token.text == "]"), 0)
    if not close or found[0].text != "[":
        return "", found
    inside = found[1:close]
    if inside and all(token.kind == "literal" for token in inside):
        return joined(inside), found[close + 1 :]
    return text[found[0].end : found[close].start].strip(), found[close + 1 :]
