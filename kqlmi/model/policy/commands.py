"""The commands of the ManagedIdentity policy, written and parsed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

from kqlmi.errors import InputError, PolicyError
from kqlmi.model.entities import Scope, known_usage
from kqlmi.model.kql import quoting
from kqlmi.model.kql.brackets import Nest
from kqlmi.model.kql.source_map import joined, literal_value
from kqlmi.model.kql.tokenizer import Token
from kqlmi.model.policy.policy import Policy
from kqlmi.model.vocabulary import unknown_usage

Verb = Literal["show", "alter", "alter-merge", "delete"]


def show(scope: Scope) -> str:
    """Return the command that reads a scope's policy."""
    return f".show {target(scope)} policy managed_identity"


def alter(scope: Scope, policy: Policy) -> str:
    """Return the command that replaces a scope's policy."""
    return f".alter {target(scope)} policy managed_identity {quoting.fence(policy.to_json())}"


def alter_merge(scope: Scope, policy: Policy) -> str:
    """Return the command that adds identities and usages to a scope's policy."""
    return f".alter-merge {target(scope)} policy managed_identity {quoting.fence(policy.to_json())}"


def delete(scope: Scope) -> str:
    """Return the command that deletes a scope's policy."""
    return f".delete {target(scope)} policy managed_identity"


def target(scope: Scope) -> str:
    """Return the words of a command that name a scope."""
    return "cluster" if scope.name is None else f"database {quoting.name(scope.name)}"


@dataclass(frozen=True, slots=True)
class PolicyCommand:
    """A parsed policy command.

    ``scope`` is None for the current database. ``payload`` is the decoded string literal (adjacent literals joined), or
    None. ``piped`` means that something follows the command, so the result may be something other than a policy.
    """

    verb: Verb
    scope: Scope | None
    payload: str | None
    piped: bool


def read(text: str, tokens: Sequence[Token]) -> PolicyCommand | None:
    """Read a policy command in any spelling that the service accepts; return None for anything else, including scripts."""
    command, rest = _parse(tokens, text)
    if command is None or rest is None or (rest and rest[0].text not in {"|", ";"}):
        return None
    return replace(command, piped=any(token.text != ";" for token in rest))


def writes(text: str, commands: Sequence[Nest]) -> tuple[PolicyCommand, ...]:
    """Return the policy commands that write: the statement itself, or those of an ``.execute … script``, in order.

    What follows a command is ignored. Every command that could write counts, even if it is not well formed.
    """
    parts = [nest.tokens for nest in commands]
    words = [token.text for token in parts[0][:4]]
    if words[:2] == [".", "execute"] and words[2:] in (["database", "script"], ["cluster", "script"]):
        parts = parts[1:]
    found = (_parse(part, text)[0] for part in parts[: None if words[1:2] == ["execute"] else 1])
    return tuple(command for command in found if command and command.verb != "show")


def _parse(found: Sequence[Token], text: str) -> tuple[PolicyCommand | None, Sequence[Token] | None]:
    """Read the policy command at the start of the tokens, and return the tokens after it, or None if its payload is malformed."""
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
    # The service joins adjacent literals.
    count = next((place for place, token in enumerate(rest) if token.kind != "literal"), len(rest))
    try:
        payload = joined(rest[:count]) if count else None
    except InputError:
        return PolicyCommand(verb, scope, None, piped=True), None
    return PolicyCommand(verb, scope, payload, piped=count < len(rest)), rest[count:]


def expected(command: PolicyCommand, before: Policy | None) -> Policy | None:
    """Return the policy after a command runs on ``before``.

    Raises:
        PolicyError: The command's payload is malformed.
    """
    if command.verb == "show":
        return before
    if command.verb != "delete" and command.payload is None:
        raise PolicyError("The command contains no policy.", hint="Write the policy as one string literal.")
    payload = Policy.parse(command.payload)
    if command.verb == "alter-merge":
        return (before or Policy.empty()).merge(payload or Policy.empty())
    return payload


def fault(command: PolicyCommand) -> str:
    """Return a hint about the fault in a policy command's payload, or an empty string if none is found."""
    if command.payload is None:
        return ""
    try:
        policy = Policy.parse(command.payload)
        for _, usage in sorted(policy.grants if policy else ()):
            if not known_usage(usage):
                return str(unknown_usage(usage))
    except PolicyError as error:
        return str(error)
    return ""


def _verb(found: Sequence[Token], text: str) -> tuple[Verb | None, Sequence[Token]]:
    """Read the verb after the dot; the three tokens of ``alter-merge`` must be adjacent."""
    merge = "".join(token.text for token in found[1:4])
    end = 4 if merge == "alter-merge" and text.startswith(merge, found[1].start) else 2
    verb = text[found[1].start : found[end - 1].end] if len(found) > end and found[0].text == "." else ""
    return (cast("Verb", verb), found[end:]) if verb in get_args(Verb) else (None, [])


def _starts_policy(found: Sequence[Token]) -> bool:
    return [token.text for token in found[:2]] == ["policy", "managed_identity"]


def _name(found: Sequence[Token], text: str) -> tuple[str, Sequence[Token]]:
    """Read a name (a word, a literal, or anything in brackets), and return it with the tokens after it."""
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
