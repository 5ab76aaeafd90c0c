"""The matcher that IPython calls on TAB."""

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from kqlmi.errors import KqlmiError
from kqlmi.model.plan.plan import SHOWN
from kqlmi.notebook.completion import Known, Names, Offers, complete
from kqlmi.session.connections import configuration
from kqlmi.verbs import Sessions

if TYPE_CHECKING:
    from IPython.core.completer import CompletionContext
    from IPython.core.interactiveshell import InteractiveShell

_IDENTIFIER: Final = "kqlmi"
# Before IPython's own matchers, which are not run if this one suppresses them.
_PRIORITY: Final = 100
# JupyterLab wraps the note beside a completion at these characters, over the lines below it.
_UNBROKEN: Final = str.maketrans({" ": "\u00a0", "-": "\u2011"})


def install(shell: "InteractiveShell", sessions: Sessions) -> None:
    """Install completion in a shell; IPython before 8.6 does not support it."""
    try:
        from IPython.core.completer import SimpleCompletion, context_matcher
    except ImportError:
        return

    def match(context: "CompletionContext") -> dict[str, Any]:
        offers = _offers(context, sessions)
        found = [SimpleCompletion(one.text, type=one.note.translate(_UNBROKEN)) for one in offers.candidates]
        fragment, alone = (offers.fragment, offers.alone) if found else ("", False)
        return {"completions": found, "matched_fragment": fragment, "suppress": alone, "ordered": True}

    remove(shell)
    shell.Completer.custom_matchers.append(context_matcher(identifier=_IDENTIFIER, priority=_PRIORITY)(match))


def remove(shell: "InteractiveShell") -> None:
    """Remove the matcher."""
    matchers = shell.Completer.custom_matchers
    matchers[:] = [one for one in matchers if getattr(one, "matcher_identifier", "") != _IDENTIFIER]


def _offers(context: "CompletionContext", sessions: Sessions) -> Offers:
    try:
        lines = context.full_text.split("\n")
        line, column = lines[context.cursor_line], context.cursor_position
        before = "\n".join([*lines[: context.cursor_line], line[:column]])
        return complete(before, line[column:], _known(sessions))
    except Exception:  # noqa: BLE001 - IPython would print the traceback into the input being typed
        return Offers()


def _known(sessions: Sessions) -> Known:
    """Return the names that the sessions know already; no request is sent to a cluster."""
    connections = {}
    for name, session in sessions.by_name.items():
        known = session.known
        plans = {key[:SHOWN]: plan.summary for key, plan in session.plans.items()}
        connections[name] = Names(known.databases, known.directory.names, known.usages, plans, session.database)
    configured: tuple[str, ...] = ()
    with suppress(KqlmiError):
        configured = tuple(configuration.connections())
    return Known(connections, sessions.current, configured)
