"""The hidden literals of a command or query, ``h'…'``, which the service masks in its logs."""

from collections.abc import Iterable, Iterator
from contextlib import suppress

from kqlmi.errors import InputError
from kqlmi.model.kql.source_map import literal_value
from kqlmi.model.kql.tokenizer import Token
from kqlmi.redaction import HIDDEN, redacted, secrets_in

_IDENTITY = "managed_identity="


def hidden(text: str, tokens: Iterable[Token]) -> frozenset[str]:
    """Return what is secret in a text: by its form, or in a hidden literal: what follows its URL, or all where there is none."""
    return secrets_in(text) | {secret for token in tokens if _is_hidden(token) for secret in _secrets(token)}


def masked(text: str, tokens: Iterable[Token]) -> str:
    """Return a text as it may be kept: without comments, and with asterisks in its hidden literals and for other secrets.

    Of a literal that is not closed nobody can tell where a comment begins, so nothing of it is kept.
    """
    kept, end = [], 0
    for token in tokens:
        blank = text[end : token.start]
        hide = _is_hidden(token) or token.kind == "unclosed"
        kept += ["\n" if "\n" in blank else " " if blank else "", f"h'{HIDDEN}'" if hide else token.text]
        end = token.end
    return redacted("".join(kept).strip())


def _is_hidden(token: Token) -> bool:
    return token.kind in {"literal", "unclosed"} and token.text[0] in "hH"


def _secrets(token: Token) -> Iterator[str]:
    body = token.text[1:].strip("@\"'`~")
    value = body
    if token.kind == "literal":
        with suppress(InputError):
            value = literal_value(token.text)
    for one in (value, body):
        url, mark, rest = one.partition("?" if "?" in one else ";")
        secret = rest if mark and "://" in url else one
        if not secret.startswith((_IDENTITY, "impersonate")) and "://" not in secret:
            yield secret
