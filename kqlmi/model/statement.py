"""A command or query as it is sent, with everything parsed from it."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Final, Literal, Self

from kqlmi.errors import InputError
from kqlmi.model.kql import brackets, query_parameters, tokenizer
from kqlmi.model.kql.source_map import Mapped, literal_value
from kqlmi.model.policy import commands
from kqlmi.model.policy.commands import PolicyCommand
from kqlmi.model.uses.commandflows import command_uses
from kqlmi.model.uses.references import Reference, named_by
from kqlmi.redaction import HIDDEN, redacted, secrets_in

# Possible hidden literals in a source with an unclosed literal: each up to the next quote, and up to an undoubled one.
_HIDDEN: Final = re.compile(
    r"""(?<!\w)(?=([hH](?:```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|@?'(?:[^'\\\r\n]|\\.)*'?|@?"(?:[^"\\\r\n]|\\.)*"?)))
    (?=([hH]@(?:'(?:[^'\r\n]|'')*'?|"(?:[^"\r\n]|"")*"?))?)""",
    re.DOTALL | re.VERBOSE,
)
# The parts that may follow the URL in a hidden literal without being secret.
_NO_SECRET: Final = ("managed_identity=", "impersonate")
# A shorter value of a parameter is not hidden in errors, which would become hard to understand.
_LONG_VALUE: Final = 10


class Statement(str):
    """One command, query or script: exactly what is sent, with the properties parsed from it.

    The source is split into tokens at most once, and all properties are derived from them. It is therefore parsed
    where it enters kqlmi; everything after that takes the statement.
    """

    __slots__ = ("__dict__",)  # for the cached properties

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return ``text`` as a statement; a statement is returned unchanged."""
        return text if isinstance(text, cls) else cls("" + text)  # raises TypeError unless it is a string

    @cached_property
    def parameters(self) -> Mapping[str, str | int]:
        """The values of the query's parameters, which are sent beside the text; ``bound`` sets them."""
        return {}

    def bound(self, values: Mapping[str, object]) -> Self:
        """Return this query with the values of its parameters; InputError if it does not declare one, or is a command."""
        if values and self.kind == "command":
            raise InputError("A command has no parameters.", hint="Write the value into the command.")
        made = type(self)(self)
        made.parameters = query_parameters.bound(query_parameters.declared(self.tokens), values)
        return made

    @cached_property
    def tokens(self) -> tuple[tokenizer.Token, ...]:
        """The tokens of the source, without blanks and comments."""
        return tokenizer.tokens(self)

    @property
    def kind(self) -> Literal["command", "query"]:
        """The kind of statement: a command begins with a dot; anything else is a query."""
        return "command" if self.tokens and self.tokens[0].text == "." else "query"

    @property
    def is_write(self) -> bool:
        """Check whether this is a command that can change something: any that does not begin with ``.show``."""
        return self.kind == "command" and [token.text for token in self.tokens[1:2]] != ["show"]

    @cached_property
    def commands(self) -> tuple[brackets.Nest, ...]:
        """The commands of a script, or the single command or query."""
        return tuple(brackets.commands(Mapped.whole(self), self.tokens))

    @property
    def second_command(self) -> str:
        """The line on which a second command begins, up to its first literal, or an empty string unless one certainly does."""
        return brackets.second_command(self, self.tokens)

    @cached_property
    def policy_command(self) -> PolicyCommand | None:
        """The policy command, in any spelling that the service accepts, or None for anything else, including a script."""
        return commands.read(self, self.tokens)

    @cached_property
    def policy_writes(self) -> tuple[PolicyCommand, ...]:
        """The policy commands that write: the statement itself, or those of an ``.execute … script``, in order."""
        return commands.writes(self, self.commands)

    @cached_property
    def hidden(self) -> frozenset[str]:
        """The secrets: those known by their form, long parameter values, and what follows the URL in hidden literals.

        A hidden literal without a URL is secret as a whole.
        """
        found = [token.text for token in self.tokens if _is_hidden(token)]
        if self._is_broken:
            # Quotes cannot be paired reliably, so treat anything that may be a hidden literal as one.
            found += [one for forms in _HIDDEN.findall(self) for one in forms if one]
        return secrets_in(self) | self._long_values | {secret for literal in found for secret in _secrets(literal)}

    @property
    def _long_values(self) -> frozenset[str]:
        kinds = query_parameters.declared(self.tokens) if self.parameters else {}
        strings = (str(value) for name, value in self.parameters.items() if kinds[name] == "string")
        return frozenset(one for one in strings if len(one) >= _LONG_VALUE)

    @cached_property
    def masked(self) -> str:
        """The source in a form that may be stored: without comments, and with asterisks for hidden literals and secrets.

        In an unclosed literal, comments cannot be recognised, so none of it is kept; if it contains a fence, which may
        span several lines, nothing after it is kept either.
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
        """The identities that the statement uses, in order.

        Never raises: from a broken statement, whatever can be read is returned. An identity is known only if literals
        determine it: of every form, joined, in ``strcat``, ``dynamic``, bags and arrays, or bound to a name by
        ``let``. If a column, a parameter, a mask or another function determines it, it is None; such references are
        omitted if their flow does not support managed identities. A literal that a flow uses several times is one
        reference.
        """
        return named_by(use for command in self.commands for use in command_uses(command))

    def line(self, offset: int) -> int:
        """Return the number, from 1, of the line that contains an offset."""
        return self.count("\n", 0, offset) + 1


def _is_hidden(token: tokenizer.Token) -> bool:
    """Check whether a token is a literal that the service masks in its logs, as ``h'…'``."""
    return token.kind == "literal" and token.text[0] in "hH"


def _secrets(literal: str) -> Iterator[str]:
    """Yield the secrets of a hidden literal, both as written and as decoded."""
    found = [literal[1:].strip("@\"'`~")]
    if _is_hidden(tokenizer.tokens(literal)[0]):
        with suppress(InputError):
            found.append(literal_value(literal))
    for one in found:
        url, mark, rest = one.partition("?" if "?" in one else ";")
        secret = rest if mark and "://" in url else one
        if not secret.startswith(_NO_SECRET) and "://" not in secret:
            yield secret
