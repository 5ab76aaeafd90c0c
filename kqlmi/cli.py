"""The command line."""

import json as jsontext
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import inf
from typing import Annotated, Any, Final, TextIO

from kqlmi import __version__
from kqlmi.errors import ApplyError, InputError, KqlmiError
from kqlmi.model.audit import auditreport
from kqlmi.model.audit.audit import Audit
from kqlmi.model.audit.findings import SEVERITIES, Severity
from kqlmi.model.plan.plan import Plan
from kqlmi.report import Described, Report, Rows
from kqlmi.session import MODES, Applied, Session, StepResult, connect
from kqlmi.terminal import to_terminal
from kqlmi.verbs import Context, Face, Sessions
from kqlmi.verbs.audit import Page
from kqlmi.verbs.changes import Exported
from kqlmi.verbs.parameters import ConnectionName
from kqlmi.verbs.plans import Offer, PlanFormat
from kqlmi.verbs.registry import Run

_CHANGES, _PARTLY, _INTERRUPTED = 2, 3, 130
# The longest list of names on a terminal, in characters.
_NAMES: Final = 1000
_REST: Final = "To see all of them, pipe the output into a pager, or write it to a file."
_STATUS: Final = """\
Exit status: every command exits with 1 if it fails. plan exits with 0 if there is nothing to do, with 2 if there are changes.
apply exits with 0 if the cluster now matches the file, with 1 if nothing was sent or nothing was changed, with 3 if the plan
was applied in part or the outcome is not known. audit exits with 2 if a finding is at least as severe as --fail-on (accepted
findings do not count), otherwise with 0."""


def _connected(
    context: Context,
    /,
    *,
    on: ConnectionName = "",
    auth: Annotated[str, MODES] = "",
    tenant: str = "",
    sign_in_identity: str = "",
    audience: str = "",
    resource_id: str = "",
    no_history: bool = False,
) -> Context:
    """--on is the cluster: a URL, a short name, a connection in the configuration file, or local. Default: KQLMI_CLUSTER.

    --auth is how to sign in: one of {modes}. The token is read from KQLMI_TOKEN. --tenant is the ID or a domain of the
    tenant to sign in to. --sign-in-identity is the identity for --auth managed-identity: system, client_id=GUID,
    object_id=GUID or resource_id=…. --audience is an audience other than Kusto that the cluster may request a token for.
    --resource-id is the cluster's resource ID in Azure; orphans and data connections are read only if it is given.
    --no-history does not record changes, so undo cannot revert them.
    """
    context.sessions.first = partial(
        connect,
        on,
        auth=auth,
        tenant=tenant,
        sign_in_identity=sign_in_identity,
        audience=audience,
        resource_id=resource_id,
        history=not no_history,
    )
    return context


_WHAT: Final = "Managed identity policies of Azure Data Explorer. kqlmi --version prints the version."
SHELL: Final = Face("shell", "kqlmi ", _connected, before=_WHAT, after=_STATUS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    words = [*(sys.argv[1:] if arguments is None else arguments)]
    if words == ["--version"]:
        print(f"kqlmi {__version__}")
        return 0
    sessions = Sessions()
    try:
        # Without arguments the help is shown, and the status 1 shows a script that nothing was done.
        return int(SHELL.run(words, Context(SHELL, sessions, note=_note, show=_show)) or not words)
    except ApplyError as error:
        _note(f"kqlmi: {error}")
        return {"not applied": 1, "applied": _INTERRUPTED}.get(error.outcome, _PARTLY)
    except (KqlmiError, OSError) as error:
        _note(f"kqlmi: {error}")
        return 1
    except KeyboardInterrupt as interrupt:
        _note(f"kqlmi: {str(interrupt) or 'Interrupted.'}")
        return _INTERRUPTED
    finally:
        sessions.close()


def _note(text: str) -> None:
    print(text, file=sys.stderr)


def _print(
    report: Report | Rows, at_most: float = inf, file: TextIO | None = None, *, before: str = "", unfold: bool = False
) -> None:
    """Print a report on the standard output or another file, after the text ``before``."""
    file = file or sys.stdout
    shown = to_terminal(report, file, at_most=at_most, unfold=unfold, rest=_REST)
    print(f"{before}\n\n{shown}" if before else shown, file=file)


def _show(value: object) -> int:
    """Show a value and return the exit status."""
    match value:
        case Exported() if value.file:
            value.write()
        case Page():
            value.write()
            _note(str(value))
        case Offer():
            return _offer(value)
        case Rows():
            _print(value)
        case Described():
            _print(value.report())
        case None:
            pass
        case _:
            print(value)
    return 0


def _offer(value: Offer, form: str = "text") -> int:
    at_most = _NAMES if form == "text" and sys.stdout.isatty() else inf
    if form == "text":
        _print(value.report(), at_most, before=value.before)
    else:
        print(value.written(form))
    if value.hides(at_most):
        _note("\nNot all names are shown. To see every name and every command, add --full.")
    for line in value.after:
        _note(line)
    return _CHANGES if value.plan.steps else 0


@SHELL.shows
def _plan(
    context: Context, run: Run, /, *, format_: PlanFormat = "text", full: bool = False, json: bool = False
) -> int:
    """--format is text, markdown (for a pull request), kql (a script), or json (for kqlmi apply). --json is --format json.

    --full prints each step with its command, where identical steps would be printed as one.
    """
    found: Offer = run(context)
    return _offer(found.full() if full else found, "json" if json else format_)


@SHELL.shows
def _apply(
    context: Context,
    run: Run,
    /,
    *,
    yes: bool = False,
    revoke: bool = False,
    full: bool = False,
    json: bool = False,
) -> int:
    """--yes applies without asking, and is required if there is no terminal. Add --revoke if the plan removes access.

    --full prints each step with its command, where identical steps would be printed as one; on a terminal, it is required
    if not all of the names fit. --json prints the outcome as JSON.
    """
    shown: list[Plan] = []

    def permit(session: Session, plan: Plan) -> None:
        offer = Offer(plan, session.live(plan), every_step=full)
        output = sys.stderr if json else sys.stdout
        # What is applied without a question is shown with all of its names.
        at_most = _NAMES if output.isatty() and not yes else inf
        _print(offer.report(), at_most, output, before=offer.before)
        shown.append(plan)
        if offer.hides(at_most):
            raise InputError(
                "Not all names are shown, and nothing was sent.",
                hint="To see every name and every command, and to be asked, add --full.",
            )
        if plan.steps:
            _confirm(offer, yes=yes, revoke=revoke)

    try:
        # The follow-up plan that the verb shows after a failure is hidden: a later process cannot apply it by its ID.
        done: Applied = run(replace(context, permit=permit, show=lambda _: 0))
    except ApplyError as error:
        if json:
            print(_outcome(shown[0], error.outcome, error.steps))
        raise
    if json:
        print(_outcome(done.plan, done.outcome, done.steps))
    elif done.plan.steps:
        print()
        _print(done.report())
    return 0


@SHELL.shows
def _audit(
    context: Context,
    run: Run,
    /,
    *,
    fail_on: Annotated[Severity, SEVERITIES] = "low",
    full: bool = False,
    json: bool = False,
    sarif: bool = False,
) -> int:
    """--fail-on is the lowest severity that exits with 2. --json prints JSON, --sarif prints SARIF for code scanning.

    On a terminal, the findings of one rule and identity are printed together, without evidence; --full prints each with
    its evidence and the commands that fix it. With the ID of a finding, --full prints each step of its plan.
    """
    found: Audit | Offer | str = run(context)
    if not isinstance(found, Audit):
        return _show(found.full() if full and isinstance(found, Offer) else found)
    if sarif:
        print(auditreport.to_sarif(found, __version__))
    elif json:
        print(auditreport.to_json(found))
    elif full or not sys.stdout.isatty():
        _print(found.report(), unfold=True)
    else:
        _print(found.report(), _NAMES)
        if found.findings:
            _note("\nTo see each finding with its evidence and the commands that fix it, add --full.")
    return _CHANGES if found.worst(fail_on) else 0


def _confirm(offer: Offer, *, yes: bool, revoke: bool) -> None:
    """Ask whether to apply a plan, unless ``--yes`` is given. A plan that revokes also needs ``--revoke``."""
    plan = offer.plan
    if yes and plan.revokes and not revoke:
        raise InputError(
            "The plan removes access, so --yes is not enough. Nothing was sent.", hint="Use --yes --revoke."
        )
    if yes:
        return
    if not sys.stdin.isatty():
        needed = "--yes --revoke" if plan.revokes else "--yes"
        raise InputError(
            "Cannot ask for confirmation in a non-interactive shell. Nothing was sent.",
            hint=f"Use {needed} to apply the plan.",
        )
    question = "The plan removes access. Apply it?" if plan.revokes else "Apply the plan?"
    if offer.folds:
        question = f"{question} (To see every command, answer n and add --full.)"
    if input(f"\n{question} [y/N] ").strip().lower() not in {"y", "yes"}:
        raise InputError("Nothing was sent.")


def _outcome(plan: Any, outcome: str, steps: Sequence[StepResult]) -> str:
    """Return the outcome as JSON: ``plan`` (its ID), ``cluster``, ``outcome``, and ``steps`` with ``scope`` and ``outcome``."""
    outcomes = [*(one.outcome for one in steps), *["not applied"] * (len(plan.steps) - len(steps))]
    rows = [{"scope": step.scope.name, "outcome": one} for step, one in zip(plan.steps, outcomes, strict=True)]
    return jsontext.dumps({"plan": plan.id, "cluster": plan.cluster, "outcome": outcome, "steps": rows}, indent=2)
