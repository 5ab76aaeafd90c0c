"""Queries, from the check of the caller's access to the result."""

import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from kqlmi.local.engine import kqltext
from kqlmi.local.language import constants
from kqlmi.local.language.lexer import Kind, next_token, tokens
from kqlmi.local.query.engine import Engine
from kqlmi.local.query.expansion import Expansion, Question, Source, filled
from kqlmi.local.state.activity import Run
from kqlmi.local.state.state import Database, State, key
from kqlmi.local.values.faults import KustoError, bad_request, forbidden_database, wrong_endpoint
from kqlmi.local.values.principals import Caller
from kqlmi.local.values.tables import Table, columns

_DEFAULT = {"", "netdefaultdb"}


class Queries:
    """The execution of queries on behalf of callers."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._engine = Engine(lambda: state.world.databases)

    def context(self, caller: Caller, name: str | None) -> str:
        """Return the name of a request's database; if it has none, that of the first one that the caller may see."""
        if name is not None and (name.lower() not in _DEFAULT or key(name) in self.state.world.databases):
            return name
        visible = self.state.visible(caller)
        if visible:
            return visible[0].name
        if not self.state.world.databases:
            raise bad_request("this cluster has no database; create one with .create database")
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
        """Run a query in a database that the caller may read; return the result of each of its statements."""
        if next_token(text, 0).text == ".":
            raise wrong_endpoint()
        context = self.state.readable(caller, self.context(caller, database))
        run.database = context.name
        question = Question(caller, run, seconds, lambda name: self.state.readable(caller, name), parameters)
        started, found = time.monotonic(), list[Table]()
        for one in kqltext.results(text):
            left = max(seconds - (time.monotonic() - started), 0) if found else seconds
            answer = self.ask(replace(question, seconds=left), one, context)
            found.append(replace(answer, visualization=kqltext.visualization(one)))
        return tuple(found)

    def permitted(self, text: str, caller: Caller, database: str | None) -> Table:
        """Check, without running it, whether a caller may read the databases that a query names; return the result as a table."""
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
        """Run the first statement of a query for a command."""
        return self.run(kqltext.results(text)[0], caller, database, run=run, seconds=seconds)[0]

    def ask(
        self, question: Question, text: str, context: Database, sources: Mapping[str, Source] = MappingProxyType({})
    ) -> Table:
        """Run a query over the given database, which need not be one of the cluster's, and over ``sources``."""
        expansion = Expansion(self.state, question, self._answer, dict(sources))
        return self._answer(expansion, filled(text, self.state, question.caller.principal, context), context)

    def pipe(self, table: Table, operators: str, caller: Caller, *, run: Run, seconds: float) -> Table:
        """Run query operators over rows that a command returned."""
        return self._engine.pipe(table, filled(operators, self.state, caller.principal), run=run, seconds=seconds)

    def follow(
        self, table: Table, text: str, caller: Caller, database: str | None, *, run: Run, seconds: float
    ) -> Table:
        """Run a query over the rows that a command returned, named ``$command_results`` in it."""
        context = self.state.readable(caller, self.context(caller, database))
        question = Question(caller, run, seconds, lambda name: self.state.readable(caller, name))
        name = f"kqlmi_{uuid.uuid4().hex}"
        text = kqltext.substitute_word(text, "$command_results", name)
        return self.ask(question, text, context, {name: Source(table.columns, lambda: table)})

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
                if f"'{name}'" in error.detail:  # the name was meant as a function
                    raise doubt from error
            raise
