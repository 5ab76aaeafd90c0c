"""The hidden literals of a command or query, ``h'…'``, which the service masks in its logs."""

from collections.abc import Iterator

from kqlmi.errors import InputError
from kqlmi.model.kql.tokenizer import Token, literal_value, tokens
from kqlmi.redaction import HIDDEN, redacted, secrets_in

_IDENTITY = "managed_identity="


def hidden(text: str) -> frozenset[str]:
    """Give what is secret in a text: by its form, or in a hidden literal: what follows its URL, or all where there is none."""
    literals = (token.text for token in tokens(text) if _is_hidden(token))
    return secrets_in(text) | {secret for literal in literals for secret in _secrets(literal)}


def masked(text: str) -> str:
    """Give a text as it may be kept: without comments, and with asterisks in its hidden literals and for other secrets."""
    kept, end = [], 0
    for token in tokens(text):
        blank = text[end : token.start]
        kept += ["\n" if "\n" in blank else " " if blank else "", f"h'{HIDDEN}'" if _is_hidden(token) else token.text]
        end = token.end
    return redacted("".join(kept).strip())


def _is_hidden(token: Token) -> bool:
    return token.kind == "literal" and token.text[0] in "hH"


def _secrets(literal: str) -> Iterator[str]:
    body = literal[1:].strip("@\"'`~")
    try:
        value = literal_value(literal)
    except InputError:
        value = body
    for one in (value, body):
        url, mark, rest = one.partition("?" if "?" in one else ";")
        secret = rest if mark and "://" in url else one
        if not secret.startswith((_IDENTITY, "impersonate")) and "://" not in secret:
            yield secret
