"""The masking of hidden strings in errors, failures and lists of requests."""

from collections.abc import Iterable

from kqlmi.local.language.lexer import hidden_values
from kqlmi.local.state.state import State
from kqlmi.local.values.faults import KustoError

_SHORTEST = 4


def masked(text: str, hidden: Iterable[str]) -> str:
    """Return a message with hidden values masked, in the forms in which the engine may quote them."""
    for value in sorted(set(hidden), key=len, reverse=True):
        # The URL of a connection string helps to find the fault, and is not secret; what follows it may be.
        secret = value.partition("?")[2] or value.partition(";")[2] or value
        if len(secret) >= _SHORTEST and not secret.startswith("managed_identity="):
            text = text.replace(secret, "****")
    return text


def shown(state: State, error: KustoError, hidden: Iterable[str]) -> KustoError:
    """Return an error with the hidden values in its message masked."""
    detail = masked(error.detail, {*hidden, *kept(state)})
    if detail == error.detail:
        return error
    return KustoError(error.status, error.code, error.type_name, detail, message=error.message, inner=error.inner)


def kept(state: State) -> set[str]:
    """Return the hidden values in the functions, update policies and continuous exports of all databases."""
    found: set[str] = set()
    for database in state.world.databases.values():
        texts = [function.body for function in database.functions.values()]
        texts += [policy.query for policies in database.update_policies.values() for policy in policies]
        texts += [export.query for export in database.exports.values()]
        for text in texts:
            found |= hidden_values(text)
    return found
