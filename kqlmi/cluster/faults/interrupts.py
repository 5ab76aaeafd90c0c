"""Interrupts during a request: the query is cancelled on the cluster, and the error states what is known."""

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
# A query that was just sent may not be running yet, and then there is nothing to cancel.
_PAUSES: Final = (0.0, 0.1, 0.4, 1.0)


def interrupted(
    statement: Statement, client_request_id: str, execute: Callable[[str], Table], *, sent: bool
) -> RequestInterruptedError:
    """Return the error for an interrupted request, after cancelling a query that was sent through ``execute``.

    A second interrupt ends the wait for the cancellation at once.
    """
    hint, ended = "", False
    if not sent:
        what = "Interrupted before anything was sent."
    elif statement.is_write:
        what = "Interrupted. kqlmi could not determine whether the command was run."
        hint = f"Check before you send it again: {_show('commands-and-queries', client_request_id)}"
    elif statement.kind == "command":
        # The documented way to cancel supports queries only, and a command that only reads need not be cancelled.
        what = "Interrupted. The command only reads, and changed nothing."
    elif ended := _end(client_request_id, execute):
        what = "Interrupted. The query no longer runs on the cluster."
    else:
        what = "Interrupted. kqlmi could not determine whether the query still runs on the cluster."
        hint = f"Check with: {_show('running queries', client_request_id)}"
    return RequestInterruptedError(what, hint=hint, client_request_id=client_request_id, sent=sent, ended=ended)


def _show(what: str, client_request_id: str) -> str:
    return f".show {what} | where ClientActivityId == {literal(client_request_id)}"


def _end(client_request_id: str, execute: Callable[[str], Table]) -> bool:
    """Cancel a query, and return whether the cluster reports that it no longer runs.

    A thread sends the requests, so that the user waits for a few seconds at most, whatever the state of the network.
    """
    cancel = f".cancel query {literal(client_request_id)} with (reason = 'interrupted in kqlmi')"
    ended, over = threading.Event(), threading.Event()

    def ask() -> None:
        with suppress(KqlmiError):  # ended stays False: unknown
            for pause in _PAUSES:
                time.sleep(pause)
                # It may have ended on its own, or because its connection was closed.
                if any(execute(cancel).column("RunningQueryCanceled")) or execute(_show("queries", client_request_id)):
                    ended.set()
                    break
        over.set()

    with suppress(KeyboardInterrupt):
        threading.Thread(target=ask, name="kqlmi-cancel", daemon=True).start()
        over.wait(_WAIT)  # an interrupted join would mark the thread as ended
    return ended.is_set()
