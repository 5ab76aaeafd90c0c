"""The expansion of a query: each part that the engine cannot evaluate is replaced by the name of a table with its rows."""

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

from kqlmi.local.engine import kqltext
from kqlmi.local.language import constants
from kqlmi.local.language.lexer import Kind, tokens
from kqlmi.local.query import external_calls
from kqlmi.local.query.external_calls import Site
from kqlmi.local.state.activity import Run
from kqlmi.local.state.state import Database, State
from kqlmi.local.values import lenient_json
from kqlmi.local.values.faults import KustoError, bad_request
from kqlmi.local.values.principals import Caller, Principal
from kqlmi.local.values.tables import Column, Table, kusto_type

_MOST_CALLS = 500
_DEEPEST = 100
_MOST_REREAD = 200_000
PLACEHOLDER = re.compile(r"kqlmi_[0-9a-f]{32}")


@dataclass(frozen=True)
class Question:
    """The caller of a query, its time limit, and the data that it is allowed to access.

    ``reads`` returns the database with a name, or refuses it if the caller is not allowed to read its data. A confined
    question, such as an update policy's query, cannot use external data or plugins that access it. An unattended
    question has no caller to impersonate.
    """

    caller: Caller
    run: Run
    seconds: float
    reads: Callable[[str], Database]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    is_confined: bool = False
    is_attended: bool = True

    @property
    def principal(self) -> Principal | None:
        """The principal that ``;impersonate`` refers to, or None if the question is unattended."""
        return self.caller.principal if self.is_attended else None


@dataclass(frozen=True)
class Source:
    """A table that replaces a part of a query; its rows are fetched only if the query needs them."""

    columns: tuple[Column, ...]
    rows: Callable[[], Table]


Evaluator = Callable[["Expansion", Site, Database], Source]
"""A function that evaluates a part of a query that the engine cannot evaluate."""

_READERS: dict[str, Evaluator] = {}
_PLUGINS: dict[str, Evaluator] = {}


def reader(*names: str) -> Callable[[Evaluator], Evaluator]:
    """Register the function that evaluates ``name(…)`` as a table."""
    return partial(_register, _READERS, names)


def plugin(*names: str) -> Callable[[Evaluator], Evaluator]:
    """Register the function that evaluates ``evaluate name(…)``."""
    return partial(_register, _PLUGINS, names)


def _register(registry: dict[str, Evaluator], names: tuple[str, ...], function: Evaluator) -> Evaluator:
    registry.update(dict.fromkeys(names, function))
    return function


@dataclass
class Expansion:
    """The replacements in one query and in the functions that it calls."""

    state: State
    question: Question
    answer: Callable[["Expansion", str, Database], Table]
    sources: dict[str, Source] = field(default_factory=dict)
    doubtful: dict[str, KustoError] = field(default_factory=dict)
    reread: int = 0

    def expand(self, text: str, context: Database, parameters: frozenset[str] = frozenset()) -> str:
        """Return a query with a name instead of each site; the names are keys of ``sources``.

        A site cannot use the parameters of the function that contains it: only the engine knows their values.
        """
        known = _READERS | _PLUGINS

        def source(site: Site) -> str:
            if self.question.is_confined:
                raise bad_request(f"an update policy's query cannot use external data or plugins, such as {site.kind}")
            if named := parameters and parameters & _words(
                " ".join((*site.arguments, site.source or "", site.prelude()))
            ):
                raise bad_request(
                    f"{site.kind}: the local cluster does not support the parameter '{min(named)}' of a stored function here"
                )
            name = f"kqlmi_{uuid.uuid4().hex}"
            self.sources[name] = known[site.kind](self, site, context)
            return name

        return external_calls.replaced(text, frozenset(_PLUGINS), source)

    def functions(self, text: str, context: Database) -> dict[str, list[str]]:
        """Return the definitions of the stored functions that a query calls, directly or indirectly, by database name.

        A bare name may be a function or a column; if it fails as a function, its error is kept in ``doubtful``.
        """
        calls: dict[tuple[str, str], list[tuple[str, str]]] = {}
        found: dict[str, list[str]] = {}

        def add(body: str, database: Database, depth: int = 0) -> list[tuple[str, str]]:
            if depth > _DEEPEST:
                raise bad_request(f"this query nests calls of stored functions more than {_DEEPEST} levels deep")
            called = []
            for owner, name, is_call in self._called(body, database):
                called.append((owner.name, name))
                if (owner.name, name) in calls:
                    continue
                calls[owner.name, name] = []
                try:
                    definition, inner = self._definition(owner, name)
                    calls[owner.name, name] = add(inner, owner, depth + 1)
                except KustoError as error:
                    if is_call:
                        raise
                    self.doubtful[name] = error
                else:
                    found.setdefault(owner.name, []).append(definition)
            return called

        _refuse_explosion(add(text, context), calls)
        definitions = [one for several in found.values() for one in several]
        if self.sources and any(map(external_calls.has_wildcard_union, (text, *definitions))):
            raise bad_request(
                "the local cluster does not support table wildcards in a query with external data or plugins"
            )
        return found

    def _definition(self, owner: Database, name: str) -> tuple[str, str]:
        function = owner.functions[name]
        parameters = frozenset(word for word in _words(function.parameters) if not kusto_type(word))
        body = filled(function.body.strip()[1:-1], self.state, self.question.caller.principal, owner)
        inner = self.expand(body, owner, parameters)
        return function.defined_as(f"{{{inner}\n}}"), inner

    def value(self, site: Site, expression: str, context: Database) -> Any:
        """Return the value of a scalar expression in a site, evaluated with the statements before it."""
        statement = f"print kqlmi_value = {expression}"
        table = constants.evaluate(statement) or self.before(site, statement, context)
        if not table.rows or len(table.columns) != 1:
            raise bad_request(f"{site.kind}: {expression[:60]!r} is not a single value")
        return table.rows[0][0]

    def before(self, site: Site, text: str, context: Database) -> Table:
        """Return the result of an expression that can use the statements before a site: the engine reads all of these again."""
        text = f"{site.prelude()}\n{text}"
        self.reread += len(text)
        if self.reread > _MOST_REREAD:
            raise bad_request(
                "evaluating the arguments of this query's external data and plugins repeats the statements before them: "
                f"the local cluster supports at most {_MOST_REREAD} characters of these; use literals as arguments"
            )
        return self.answer(self, text, context)

    def text(self, site: Site, expression: str, context: Database) -> str:
        """Return the value of an expression that must be a string."""
        value = self.value(site, expression, context)
        if not isinstance(value, str):
            raise bad_request(f"{site.kind}: expected a string, found {value!r}")
        return value

    def _called(self, text: str, context: Database) -> list[tuple[Database, str, bool]]:
        """Return each stored function that a query may call: its database, its name, and whether it certainly is a call."""
        found = list(tokens(text))
        own = {after.text for word, after in pairwise(found) if word.text == "let" and word.kind is Kind.WORD}
        called = []
        for index, token in enumerate(found):
            is_call = index + 1 < len(found) and found[index + 1].text == "("
            owner = context
            if index and found[index - 1].text == ".":
                start, name = external_calls.qualifier(found, index)
                if start == token.start:
                    continue
                owner = self.question.reads(name)
                is_call = True
            elif token.text in own:
                continue
            if token.kind is Kind.WORD and token.text in owner.functions:
                called.append((owner, token.text, is_call))
        return called


def filled(text: str, state: State, principal: Principal, database: Database | None = None) -> str:
    """Return a query with context functions, such as ``current_principal()``, replaced by their values."""
    details = {
        "UserPrincipalName": principal.display_name if principal.kind == "aaduser" else "",
        "IdentityProvider": "https://sts.windows.net",
        "Authority": principal.tenant_id,
        "Mfa": "False",
        "Type": {"aadapp": "AadApplication", "aaduser": "AadUser", "aadgroup": "AadGroup"}[principal.kind],
        "DisplayName": principal.display_name,
        "ObjectId": principal.object_id,
        "FQN": principal.fqn,
        "Notes": None,
    }
    calls = {
        "current_principal_details": f"dynamic({lenient_json.dumps(details)})",
        "current_principal": kqltext.quote(principal.fqn),
        "current_cluster_endpoint": kqltext.quote(f"{state.world.id}.{state.name}"),
    }
    return kqltext.substitute(text, calls | ({"current_database": kqltext.quote(database.name)} if database else {}))


def _words(text: str) -> frozenset[str]:
    return frozenset(token.text for token in tokens(text) if token.kind is Kind.WORD)


def _refuse_explosion(called: list[tuple[str, str]], calls: Mapping[tuple[str, str], list[tuple[str, str]]]) -> None:
    """Refuse functions that call one another so often that the engine would expand them almost endlessly."""
    counts: dict[tuple[str, str], int] = {}

    def count(one: tuple[str, str]) -> int:
        if one not in counts:
            counts[one] = 1  # also ends a cycle, which the engine refuses
            counts[one] += sum(map(count, calls.get(one, ())))
        return counts[one]

    if sum(map(count, called)) > _MOST_CALLS:
        raise bad_request(f"the stored functions of this query expand to more than {_MOST_CALLS} calls")
