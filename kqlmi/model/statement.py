"""A command or query as it is sent, read once."""

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from typing import Final, Literal, Self

from kqlmi.errors import InputError
from kqlmi.model.kql import brackets, tokenizer
from kqlmi.model.kql.source_map import Mapped, literal_value
from kqlmi.model.policy import commands
from kqlmi.model.policy.commands import PolicyCommand
from kqlmi.model.uses.commandflows import command_uses
from kqlmi.model.uses.references import Reference, named_by
from kqlmi.redaction import HIDDEN, redacted, secrets_in

# What may be hidden literals where one is not closed: each up to the next quote, and up to one that is not doubled.
_HIDDEN: Final = re.compile(
    r"""(?<!\w)(?=([hH](?:```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|@?'(?:[^'\\\r\n]|\\.)*'?|@?"(?:[^"\\\r\n]|\\.)*"?)))
    (?=([hH]@(?:'(?:[^'\r\n]|'')*'?|"(?:[^"\r\n]|"")*"?))?)""",
    re.DOTALL | re.VERBOSE,
)
# What may follow the URL in a hidden literal and is no secret.
_NO_SECRET: Final = ("managed_identity=", "impersonate")


class Statement(str):
    """One command, query or script: the very text that is sent, with what is read of it.

    It is cut into tokens at most once, and whatever is asked of it is read from those. So a text is parsed where it comes
    in, and what is behind that takes the statement.
    """

    __slots__ = ("__dict__",)  # which keeps what was read

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the statement that a text is; itself where it is one already."""
        return text if isinstance(text, cls) else cls("" + text)  # what is no text is a TypeError

    @cached_property
    def tokens(self) -> tuple[tokenizer.Token, ...]:
        """The tokens, without blanks and comments."""
        return tokenizer.tokens(self)

    @property
    def kind(self) -> Literal["command", "query"]:
        """A management command begins with a dot; anything else is a query."""
        return "command" if self.tokens and self.tokens[0].text == "." else "query"

    @property
    def is_write(self) -> bool:
        """Whether it is a command that may change something: any that does not begin with ``.show``."""
        return self.kind == "command" and [token.text for token in self.tokens[1:2]] != ["show"]

    @cached_property
    def commands(self) -> tuple[brackets.Nest, ...]:
        """Each command of a script by itself, or the one command or query."""
        return tuple(brackets.commands(Mapped.whole(self), self.tokens))

    @property
    def second_command(self) -> str:
        """The line on which a second command begins, up to its first literal; empty where there is none for certain."""
        return brackets.second_command(self, self.tokens)

    @cached_property
    def policy_command(self) -> PolicyCommand | None:
        """The policy command that it is, in any spelling that the service accepts; None for anything else, as a script."""
        return commands.read(self, self.tokens)

    @cached_property
    def policy_writes(self) -> tuple[PolicyCommand, ...]:
        """The policy commands in it that write: one, or those of an ``.execute … script``, in their order."""
        return commands.writes(self, self.commands)

    @cached_property
    def hidden(self) -> frozenset[str]:
        """What is secret in it: by its form, or in a hidden literal: what follows its URL, or all where there is none."""
        found = [token.text for token in self.tokens if _is_hidden(token)]
        if self._is_broken:
            # Nobody can tell what stands in quotes, so whatever may be hidden is.
            found += [one for forms in _HIDDEN.findall(self) for one in forms if one]
        return secrets_in(self) | {secret for literal in found for secret in _secrets(literal)}

    @cached_property
    def masked(self) -> str:
        """The text as it may be kept: without comments, and with asterisks in hidden literals and for other secrets.

        Of a literal that is not closed nobody can tell where a comment begins, so nothing of it is kept, and nothing behind
        it where it holds a fence, which may go on over several lines.
        """
        kept, end = [], 0
        for token in self.tokens:
            blank = self[end : token.start]
            hide = token.kind == "unclosed" or _is_hidden(token)
            kept += ["\n" if "\n" in blank else " " if blank else "", f"h'{HIDDEN}'" if hide else token.text]
            end = token.end
            if token.kind == "unclosed" and ("```" in token.text or "~~~" in token.text):
                break
        return redacted("".join(kept).strip(), self.hidden if self._is_broken else ())

    @property
    def _is_broken(self) -> bool:
        return any(token.kind == "unclosed" for token in self.tokens)

    @cached_property
    def references(self) -> tuple[Reference, ...]:
        """The identities that it uses, in the order of the text.

        Reading never raises: what is broken gives what can be read of the rest. An identity is told only where the text
        alone decides: literals in every form, joined, in ``strcat``, ``dynamic``, bags and arrays, or bound to a name by
        ``let``. One that a column, a parameter, a mask or another function decides has None, unless its flow takes none
        anyway. A literal that a flow uses several times is one reference.
        """
        return named_by(use for command in self.commands for use in command_uses(command))

    def line(self, offset: int) -> int:
        """Return the number of the line on which an offset is, from 1."""
        return self.count("\n", 0, offset) + 1


def _is_hidden(token: tokenizer.Token) -> bool:
    """Check whether a token is a literal that the service masks in its logs, as ``h'…'``."""
    return token.kind == "literal" and token.text[0] in "hH"


def _secrets(literal: str) -> Iterator[str]:
    """Yield what a hidden literal hides, as it is written and as it is meant."""
    found = [literal[1:].strip("@\"'`~")]
    if _is_hidden(tokenizer.tokens(literal)[0]):
        with suppress(InputError):
            found.append(literal_value(literal))
    for one in found:
        url, mark, rest = one.partition("?" if "?" in one else ";")
        secret = rest if mark and "://" in url else one
        if not secret.startswith(_NO_SECRET) and "://" not in secret:
            yield secret
