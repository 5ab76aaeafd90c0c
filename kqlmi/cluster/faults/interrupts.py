"""An interrupt while a request runs: end the query on the cluster, and say what is known."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from kqlmi.cluster.protocol.table import Table
from kqlmi.errors import KqlmiError, RequestInterruptedError
from kqlmi.model.kql.quoting import literal
from kqlmi.model.statement import Statement

SERVER_SECONDS: Final = 5.0
_WAIT: Final = 5.0
# A query that was sent just now may not run yet, and then there is nothing to end.
_PAUSES: Final = (0.0, 0.1, 0.4, 1.0)


def interrupted(
    statement: Statement, client_request_id: str, execute: Callable[[str], Table], *, sent: bool
) -> RequestInterruptedError:
    """Return what an interrupt becomes; a query that was sent is first asked to end, by ``execute``.

    A second interrupt ends the wait for that at once.
    """
    hint, ended = "", False
    if not sent:
        what = "Interrupted before anything was sent."
    elif statement.is_write:
        what = "Interrupted. Whether the command was carried out is not known."
        hint = f"Look before you send it again: {_look('commands-and-queries', client_request_id)}"
    elif statement.kind == "command":
        # What the service documents ends queries; a command that only shows leaves nothing behind.
        what = "Interrupted. The command only reads, and changed nothing."
    elif ended := _end(client_request_id, execute):
        what = "Interrupted. The query no longer runs on the cluster."
    else:
        what = "Interrupted. Whether the query still runs on the cluster is not known."
        hint = f"Look: {_look('running queries', client_request_id)}"
    return RequestInterruptedError(what, hint=hint, client_request_id=client_request_id, sent=sent, ended=ended)


def _look(what: str, client_request_id: str) -> str:
    return f".show {what} | where ClientActivityId == {literal(client_request_id)}"


def _end(client_request_id: str, execute: Callable[[str], Table]) -> bool:
    """Ask the cluster to end a query, and return whether it says that the query runs no longer; False if that is unknown.

    It is asked in a thread, so that however the network fares nobody waits longer than a few seconds.
    """
    cancel = f".cancel query {literal(client_request_id)} with (reason = 'interrupted in kqlmi')"
    ended, over = threading.Event(), threading.Event()

    def ask() -> None:
        with suppress(KqlmiError):  # then it is not known
            for pause in _PAUSES:
                time.sleep(pause)
                # It may have ended by itself, or because its connection was closed.
                if any(execute(cancel).column("RunningQueryCanceled")) or execute(_look("queries", client_request_id)):
                    ended.set()
                    break
        over.set()

    with suppress(KeyboardInterrupt):
        threading.Thread(target=ask, name="kqlmi-cancel", daemon=True).start()
        over.wait(_WAIT)  # an interrupted join would take the thread for ended
    return ended.is_set()
