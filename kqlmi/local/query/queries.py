"""Queries: who may read what, and which part of the cluster evaluates them."""

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from kqlmi.local.engine import kqltext
from kqlmi.local.language import constants
from kqlmi.local.language.lexer import Kind, next_token, tokens
from kqlmi.local.query.engine import Engine
from kqlmi.local.query.expansion import Carriers, Expansion, Question, Source
from kqlmi.local.state.activity import Run
from kqlmi.local.state.state import Database, State, key
from kqlmi.local.values import lenient_json
from kqlmi.local.values.faults import KustoError, bad_request, forbidden_database, wrong_endpoint
from kqlmi.local.values.principals import Caller, Principal
from kqlmi.local.values.tables import Table, columns

_DEFAULT = {"", "netdefaultdb"}


class Queries:
    """Runs query text for callers."""

    def __init__(self, state: State, carriers: Carriers) -> None:
        self.state = state
        self._carriers = carriers
        self._engine = Engine(lambda: state.world.databases)

    def context(self, caller: Caller, name: str | None) -> str:
        """Return the name of the database that a request is about; without one, of the first that the caller may see."""
        if name is not None and (name.lower() not in _DEFAULT or key(name) in self.state.world.databases):
            return name
        visible = self.state.visible(caller)
        if visible:
            return visible[0].name
        if not self.state.world.databases:
            raise bad_request("this cluster has no database; the request needs one")
        raise forbidden_database(caller.principal.fqn, "NetDefaultDB")

    def run(
        self,
        text: str,
        caller: Caller,
        database: str | None,
        *,
        run: Run,
        seconds: float,
        parameters: Mapping[str, Any] = MappingProxyType({}),
    ) -> tuple[Table, ...]:
        """Run a query in a database that the caller may read; return what each of its statements gives."""
        if next_token(text, 0).text == ".":
            raise wrong_endpoint()
        context = self.state.readable(caller, self.context(caller, database))
        run.database = context.name
        question = Question(caller, run, seconds, lambda name: self.state.readable(caller, name), parameters)
        started, found = time.monotonic(), list[Table]()
        for one in kqltext.results(text):
            left = max(seconds - (time.monotonic() - started), 0) if found else seconds
            found.append(self.ask(replace(question, seconds=left), one, context))
        return tuple(found)

    def permitted(self, text: str, caller: Caller, database: str | None) -> Table:
        """Return whether a caller may run a query, as far as its text tells the databases; it is not run."""
        self.state.readable(caller, self.context(caller, database))
        result = "OK"
        found = list(tokens(text))
        for word, opening, name in zip(found, found[1:], found[2:], strict=False):
            if word.kind is Kind.WORD and word.text == "database" and opening.text == "(":
                if name.kind is Kind.STRING:
                    self.state.readable(caller, name.value)
                else:
                    result = "Incomplete"
        return Table(columns("Result: string"), ((result,),))

    def first(self, text: str, caller: Caller, database: str | None, *, run: Run, seconds: float) -> Table:
        """Run a query for a command, which takes what its first statement gives."""
        return self.run(kqltext.results(text)[0], caller, database, run=run, seconds=seconds)[0]

    def ask(self, question: Question, text: str, context: Database) -> Table:
        """Run a query over a database as it is given, which need not be one of the cluster's."""
        expansion = Expansion(self.state, self._carriers, question, self._answer, self._prepare(question.caller))
        return self._answer(expansion, expansion.prepare(text, context), context)

    def _prepare(self, caller: Caller) -> Callable[[str, Database], str]:
        return lambda part, database: kqltext.substitute(part, _about(caller.principal, database, self.state))

    def pipe(self, table: Table, operators: str, caller: Caller, *, run: Run, seconds: float) -> Table:
        """Run query operators over rows that a command gave."""
        text = kqltext.substitute(operators, _about(caller.principal, None, self.state))
        return self._engine.pipe(table, text, run=run, seconds=seconds)

    def follow(
        self, table: Table, text: str, caller: Caller, database: str | None, *, run: Run, seconds: float
    ) -> Table:
        """Run a query over the rows that a command gave, which it calls ``$command_results``."""
        context = self.state.readable(caller, self.context(caller, database))
        question = Question(caller, run, seconds, lambda name: self.state.readable(caller, name))
        name = f"kqlmi_{uuid.uuid4().hex}"
        sources = {name: Source(table.columns, lambda: table)}
        text = kqltext.substitute_word(text, "$command_results", name)
        expansion = Expansion(self.state, self._carriers, question, self._answer, self._prepare(caller), sources)
        return self._answer(expansion, expansion.prepare(text, context), context)

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()

    def _answer(self, expansion: Expansion, text: str, context: Database) -> Table:
        exact = constants.evaluate(text)
        if exact is not None:
            return exact
        expanded = expansion.expand(text, context)
        functions = expansion.functions(expanded, context)
        try:
            return self._engine.query(expanded, context, expansion, functions)
        except KustoError as error:
            for name, doubt in expansion.doubtful.items():
                if f"'{name}'" in error.detail:  # it was a function after all
                    raise doubt from error
            raise


def _about(principal: Principal, database: Database | None, state: State) -> dict[str, str]:
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
    return {
        "current_principal_details": f"dynamic({lenient_json.dumps(details)})",
        "current_principal": kqltext.quote(principal.fqn),
        "current_cluster_endpoint": kqltext.quote(f"{state.world.id}.{state.name}"),
        **({"current_database": kqltext.quote(database.name)} if database else {}),
    }
