"""A query's text with every reach beyond the engine replaced by the name of a table that stands for it."""

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kqlmi.local import cutting
from kqlmi.local.activity import Run
from kqlmi.local.cutting import Site
from kqlmi.local.faults import bad_request
from kqlmi.local.lexer import Kind, tokens
from kqlmi.local.principals import Caller, Principal
from kqlmi.local.tables import Column, Table

if TYPE_CHECKING:
    from kqlmi.local.state import Database, State

PLACEHOLDER = re.compile(r"kqlmi_[0-9a-f]{32}")


@dataclass(frozen=True)
class Question:
    """Who asks, for how long, and what it may reach.

    ``reads`` gives a database whose data may be read, or refuses it. A confined question, as an update policy asks it,
    may use neither external data nor plugins that reach it; behind one that is not attended stands nobody.
    """

    caller: Caller
    run: Run
    seconds: float
    reads: Callable[["Database"], "Database"]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    is_confined: bool = False
    is_attended: bool = True

    @property
    def principal(self) -> Principal | None:
        """Whom ``;impersonate`` stands for."""
        return self.caller.principal if self.is_attended else None


@dataclass(frozen=True)
class Source:
    """A table that stands for a part of a query; its rows are fetched only where the query needs them."""

    columns: tuple[Column, ...]
    rows: Callable[[], Table]


@dataclass
class Expansion:
    """The replacements in one query, and in what it calls."""

    state: "State"
    question: Question
    answer: Callable[["Expansion", str, "Database"], Table]
    prepare: Callable[[str, "Database"], str]
    sources: dict[str, Source] = field(default_factory=dict)

    def expand(self, text: str, context: "Database") -> str:
        """Give the text with a name in place of each site; the names are keys of ``sources``."""
        from kqlmi.local import flows  # the flows ask queries themselves

        position = 0
        while site := cutting.find(text, position, frozenset(flows.PLUGINS)):
            if self.question.is_confined:
                raise bad_request(
                    f"an update policy's query can use no external data and no plugin, such as {site.kind}"
                )
            name = f"kqlmi_{uuid.uuid4().hex}"
            self.sources[name] = (flows.READERS | flows.PLUGINS)[site.kind](self, site, context)
            text = text[: site.start] + name + text[site.end :]
            position = site.start + len(name)
        if self.sources and cutting.has_wildcard_union(text):
            raise bad_request("the local cluster takes no wildcard of tables beside external data and plugins")
        return text

    def functions(self, text: str, context: "Database") -> dict[str, list[str]]:
        """Give the definitions of the stored functions that a text calls, directly or not, by the database's name."""
        definitions: dict[tuple[str, str], str] = {}
        waiting = [(text, context)]
        while waiting:
            body, database = waiting.pop()
            for owner, name in self._called(body, database):
                if (owner.name, name) not in definitions:
                    function = owner.functions[name]
                    inner = self.expand(self.prepare(function.body.strip()[1:-1], owner), owner)
                    definitions[owner.name, name] = function.defined_as(f"{{{inner}\n}}")
                    waiting.append((inner, owner))
        found: dict[str, list[str]] = {}
        for (owner_name, _), definition in definitions.items():
            found.setdefault(owner_name, []).append(definition)
        return found

    def value(self, site: Site, expression: str, context: "Database") -> Any:
        """Give the value of a scalar expression that stands in a site, evaluated with the statements before it."""
        table = self.answer(self, f"{site.prelude}\nprint kqlmi_value = {expression}", context)
        return table.rows[0][0]

    def text(self, site: Site, expression: str, context: "Database") -> str:
        """Give the value of an expression that must be a string."""
        value = self.value(site, expression, context)
        if not isinstance(value, str):
            raise bad_request(f"{site.kind}: a string is expected, not {value!r}")
        return value

    def _called(self, text: str, context: "Database") -> list[tuple["Database", str]]:
        found = list(tokens(text))
        called = []
        for index, token in enumerate(found):
            owner = context
            if index and found[index - 1].text == ".":
                parts = found[max(index - 5, 0) : index]
                if [part.text for part in parts if part.kind is not Kind.STRING] != ["database", "(", ")", "."]:
                    continue
                owner = self.question.reads(self.state.database(parts[2].value))
            if token.kind is Kind.WORD and token.text in owner.functions:
                called.append((owner, token.text))
        return called
