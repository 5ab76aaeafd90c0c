"""Background queries, run over new rows only, on behalf of a managed identity or of the service."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace

from kqlmi.local import enforce
from kqlmi.local.enforce import Use
from kqlmi.local.query.expansion import Question
from kqlmi.local.query.queries import Queries
from kqlmi.local.state.activity import Run
from kqlmi.local.state.state import Database, State, key
from kqlmi.local.values import principals
from kqlmi.local.values.faults import forbidden_database
from kqlmi.local.values.principals import Caller, Principal
from kqlmi.local.values.tables import Table

_SERVICE = Principal("aadapp", "00000000-0000-0000-0000-000000000000", "the local cluster itself")


@dataclass(frozen=True)
class Unattended:
    """A flow that runs queries in a database; ``identity`` is an object ID, ``system``, or empty."""

    flow: str
    database: Database
    identity: str
    is_confined: bool = False

    def principal(self, state: State) -> Principal | None:
        """Return the managed identity that the flow uses, if any; raise if the policy does not permit it."""
        if not self.identity:
            return None
        return principals.of_identity(enforce.permit(state, Use(self.flow, self.database.name), self.identity))

    def ask(self, queries: Queries, text: str, rows: Mapping[str, Table], *, run: Run, seconds: float) -> Table:
        """Run a query over the database with some tables replaced by ``rows``.

        An identity needs a role in each database that the query reads. Without one, it can read only its own
        database.
        """
        state = queries.state
        principal = self.principal(state)
        caller = Caller(principal or _SERVICE)
        if principal:
            state.readable(caller, self.database.name)
        # The engine distinguishes databases by ID: a new one makes it load this variant separately.
        variant = replace(self.database, tables={**self.database.tables, **rows}, database_id=str(uuid.uuid4()))

        def reads(other: str) -> Database:
            if key(other) == key(variant.name):
                return variant
            if principal is None:
                raise forbidden_database(f"{self.flow} without a managed identity", other)
            return state.readable(caller, other)

        question = Question(
            caller, run, seconds, reads, is_confined=self.is_confined, is_attended=principal is not None
        )
        return queries.ask(question, text, variant)
