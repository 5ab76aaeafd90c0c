"""The command line over the verbs."""

import json as jsontext
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Final

from kqlmi import __version__
from kqlmi.errors import ApplyError, InputError, KqlmiError
from kqlmi.model.audit import auditreport
from kqlmi.model.audit.audit import Audit
from kqlmi.model.audit.findings import SEVERITIES, Severity
from kqlmi.model.plan.plan import Plan
from kqlmi.report import Rows, to_text
from kqlmi.session import MODES, Applied, Session, StepResult, connect
from kqlmi.verbs import Context, Face, Sessions
from kqlmi.verbs.changes import Exported
from kqlmi.verbs.parameters import ConnectionName
from kqlmi.verbs.plans import Offer, PlanFormat
from kqlmi.verbs.registry import Run

_CHANGES, _PARTLY, _INTERRUPTED = 2, 3, 130
_STATUS: Final = """\
export and plan end with 1 for an error. plan ends with 0 where there is nothing to do, and with 2 where there are changes.
apply ends with 0 where the cluster holds what the file wants, with 1 where nothing was sent or nothing was changed, and with
3 where a part of it landed, or where that is not known. audit ends with 0 where it finds nothing as severe as --fail-on
(accepted findings do not count), with 2 where it does, and with 1 for an error."""


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
    """--on names the cluster: its URL, its short name, a name of yours, or local; by default that of KQLMI_CLUSTER.

    --auth is how to sign in, one of {modes}; token is read from KQLMI_TOKEN. --tenant is the tenant to sign in to, by its
    ID or a domain. --sign-in-identity is for --auth managed-identity: system, client_id=GUID, object_id=GUID or
    resource_id=…. --audience is what the cluster may ask a token for that is not Kusto's. --resource-id is the cluster's in
    Azure: then orphans and data connections count. --no-history keeps no record, so that undo cannot revert a change.
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
        # Without a word there is nothing to do: the help says what there is, and a script learns that it did nothing.
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


def _show(value: object) -> int:
    """Show a value, and return the status that it ends with."""
    match value:
        case Exported() if value.file:
            value.write()
        case Offer():
            return _offer(value)
        case Rows():
            print(to_text(value))
        case None:
            pass
        case _:
            print(value)
    return 0


def _offer(value: Offer, form: str = "text") -> int:
    print(value.written(form))
    for line in value.after:
        _note(line)
    return _CHANGES if value.plan.steps else 0


@SHELL.shows
def _plan(context: Context, run: Run, /, *, format_: PlanFormat = "text", json: bool = False) -> int:
    """--format is text, markdown for a pull request, kql for a script to paste, or json, as --json: a plan for apply."""
    return _offer(run(context), "json" if json else format_)


@SHELL.shows
def _apply(context: Context, run: Run, /, *, yes: bool = False, revoke: bool = False, json: bool = False) -> int:
    """--yes does not ask, and is needed where there is no terminal; with it, --revoke is needed if it takes anything away.

    --json prints the outcome as JSON.
    """
    shown: list[Plan] = []

    def permit(session: Session, plan: Plan) -> None:
        print(Offer(plan, session.live(plan)), file=sys.stderr if json else sys.stdout)
        shown.append(plan)
        if plan.steps:
            _confirm(plan, yes=yes, revoke=revoke)

    try:
        # What helps on is a plan of this process only.
        done: Applied = run(replace(context, permit=permit, show=lambda _: 0))
    except ApplyError as error:
        if json:
            print(_outcome(shown[0], error.outcome, error.steps))
        raise
    if json:
        print(_outcome(done.plan, done.outcome, done.steps))
    elif done.plan.steps:
        print(f"\n{done}")
    return 0


@SHELL.shows
def _audit(
    context: Context,
    run: Run,
    /,
    *,
    fail_on: Annotated[Severity, SEVERITIES] = "low",
    json: bool = False,
    sarif: bool = False,
) -> int:
    """--fail-on is the least severity that ends with 2. --json is for programs, --sarif for code scanning."""
    found: Audit | Offer | str = run(context)
    if not isinstance(found, Audit):
        return _show(found)
    if sarif:
        print(auditreport.to_sarif(found, __version__))
    else:
        print(auditreport.to_json(found) if json else to_text(found.report(), unfold=True))
    return _CHANGES if found.worst(fail_on) else 0


def _confirm(plan: Plan, *, yes: bool, revoke: bool) -> None:
    """Ask whether to apply a plan, unless the options say so; ``--yes`` alone never covers what takes something away."""
    if yes and plan.revokes and not revoke:
        raise InputError(
            "The plan takes something away, and nothing was sent.", hint="If that is meant, use --yes --revoke."
        )
    if yes:
        return
    if not sys.stdin.isatty():
        needed = "--yes --revoke" if plan.revokes else "--yes"
        raise InputError("Nobody can be asked here, and nothing was sent.", hint=f"Use {needed} to apply the plan.")
    question = "It takes something away. Apply it?" if plan.revokes else "Apply it?"
    if input(f"\n{question} [y/N] ").strip().lower() not in {"y", "yes"}:
        raise InputError("Nothing was sent.")


def _outcome(plan: Any, outcome: str, steps: Sequence[StepResult]) -> str:
    """Return the outcome as JSON: ``plan`` (its ID), ``cluster``, ``outcome``, and ``steps`` with ``scope`` and ``outcome``."""
    outcomes = [*(one.outcome for one in steps), *["not applied"] * (len(plan.steps) - len(steps))]
    rows = [{"scope": step.scope.name, "outcome": one} for step, one in zip(plan.steps, outcomes, strict=True)]
    return jsontext.dumps({"plan": plan.id, "cluster": plan.cluster, "outcome": outcome, "steps": rows}, indent=2)
