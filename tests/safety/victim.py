"""A process to kill: it applies a plan of four steps, and stops at a given point."""

import json
import sys
import threading
from typing import NoReturn

import kqlmi
from kqlmi.cluster.connection import Connection
from kqlmi.cluster.protocol.table import Table
from kqlmi.history import Entry, History
from kqlmi.model.entities import Scope
from kqlmi.model.policy.policy import Policy
from kqlmi.model.statement import Statement

# The second scope needs two steps: its grant goes first, as an .alter-merge.
DESIRED = {
    Scope.database("First"): Policy.empty().grant("system", "SqlRequest", "ExternalTable"),
    Scope.database("Second"): Policy.empty().grant("system", "ExportRequest"),
    Scope.cluster(): None,
}


class Stopping(Connection):
    """A connection that stops before a write command is sent, or after its answer arrived."""

    def __init__(self, behind: Connection) -> None:
        self.behind = behind

    def reach(self, point: str) -> None:
        reach(point)

    def execute(
        self, text: str, database: str | None = None, *, timeout: float | None = None, client_request_id: str = ""
    ) -> Table:
        command = Statement(text).policy_command
        writes = command is not None and command.verb != "show"
        if writes:
            self.reach("sending")
        answer = self.behind.execute(text, database, timeout=timeout, client_request_id=client_request_id)
        if writes:
            self.reach("answered")
        return answer

    def close(self) -> None:
        self.behind.close()


class Recording(History):
    """A history that stops after it was written."""

    def update(self, entry: Entry) -> None:
        History.update(self, entry)
        reach("recorded")


def reach(point: str) -> None:
    """Stop if this is the requested point, at the requested occurrence."""
    reached.append(point)
    if [point, reached.count(point)] == wanted["stop"]:
        stop()


def stop() -> NoReturn:
    print("stopped", flush=True)  # noqa: T201 - the test waits for it
    threading.Event().wait()
    raise AssertionError


if __name__ == "__main__":
    wanted = json.loads(sys.stdin.readline())
    reached: list[str] = []
    with kqlmi.connect(wanted["url"], token=wanted["token"]) as session:
        plan = session.plan(DESIRED)
        session.connection = Stopping(session.connection)
        session.history = Recording()
        session.apply(plan)
