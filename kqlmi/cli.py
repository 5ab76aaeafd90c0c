"""The command line."""

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NoReturn

from kqlmi import __version__
from kqlmi.errors import ApplyError, InputError, KqlmiError, ServiceError
from kqlmi.model.audit import auditreport
from kqlmi.model.audit.audit import Audit
from kqlmi.model.audit.findings import SEVERITIES
from kqlmi.model.plan import edits, planfile
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.session import MODES, Session, StepResult, connect
from kqlmi.session.connections import files

_TYPED: Final = re.compile(
    r"(?<=unrecognized arguments: ).*|(?<=invalid choice: ).*(?= \(choose)|(?<=value: ).*|(?<=option: ).*(?= could)",
    re.DOTALL,
)
_OPTION: Final = re.compile(r"(?<!\S)--[a-z-]+")
_CHANGES, _PARTLY, _INTERRUPTED = 2, 3, 130
_STATUS = """\
export and plan end with 1 for an error. plan ends with 0 where there is nothing to do, and with 2 where there are changes.
apply ends with 0 where the cluster holds what the file wants, with 1 where nothing was sent or nothing was changed, and with
3 where a part of it landed, or where that is not known. audit ends with 0 where it finds nothing as severe as --fail-on
(accepted findings do not count), with 2 where it does, and with 1 for an error.
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose own errors end with 1: 2 tells of changes."""

    def error(self, message: str) -> NoReturn:
        # What was typed in a wrong place may be a secret, and the output of a shell is often kept.
        safe = _TYPED.sub(lambda found: " ".join(_OPTION.findall(found[0])) or "what was typed", message)
        self.exit(1, f"{self.prog}: {safe}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    parser = _Parser(prog="kqlmi", description="Managed identity policies of Azure Data Explorer.", epilog=_STATUS)
    parser.add_argument("--version", action="version", version=f"kqlmi {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    export = _command(commands, "export", "write every policy into a policy file", _export)
    export.add_argument("file", type=Path, help="a file that exists keeps its comments and the scopes that it governs")
    plan = _command(commands, "plan", "show what a policy file would change", _plan)
    plan.add_argument("file", type=Path)
    plan.add_argument("--format", choices=[*planfile.FORMATS], default="text")
    plan.add_argument("--json", dest="format", action="store_const", const="json", help="a plan that apply takes later")
    apply = _command(commands, "apply", "carry out what a policy file, or a saved plan, wants", _apply)
    apply.add_argument("file", type=Path)
    apply.add_argument("--yes", action="store_true", help="do not ask; needed where there is no terminal")
    apply.add_argument("--revoke", action="store_true", help="needed with --yes for a plan that takes anything away")
    apply.add_argument("--json", action="store_true", help="the outcome as JSON")
    apply.add_argument("--no-history", action="store_true", help="keep no record, so that undo cannot take it back")
    audit = _command(commands, "audit", "find what policies lack, and what they allow without need", _audit)
    audit.add_argument(
        "--resource-id",
        default="",
        metavar="ID",
        help="the cluster's in Azure: then orphans and data connections count",
    )
    audit.add_argument("--policy-file", type=Path, metavar="FILE", help="its accepted findings do not count")
    audit.add_argument(
        "--fail-on", choices=SEVERITIES, default="low", help="the least severity that ends with 2 (default: low)"
    )
    audit.add_argument("--json", dest="format", action="store_const", const="json", default="text", help="for programs")
    audit.add_argument("--sarif", dest="format", action="store_const", const="sarif", help="for code scanning")
    local = commands.add_parser("local", help="the embedded local cluster")
    serve = local.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "serve", help="run a local cluster that notebooks join by %%kqlmi connect local"
    )
    serve.add_argument("--port", type=int, default=0, help="a port of 127.0.0.1 (default: any free one)")
    serve.set_defaults(run=_serve)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except ApplyError as error:
        print(f"kqlmi: {error}", file=sys.stderr)
        return {"not applied": 1, "applied": _INTERRUPTED}.get(error.outcome, _PARTLY)
    except (KqlmiError, OSError) as error:
        print(f"kqlmi: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        print(f"kqlmi: {interrupt or 'Interrupted.'}", file=sys.stderr)
        return _INTERRUPTED


def _command(
    commands: "argparse._SubParsersAction[_Parser]", name: str, text: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, epilog=_STATUS)
    parser.add_argument(
        "--cluster", default="", help="its URL, its short name, a name of yours, or local (default: KQLMI_CLUSTER)"
    )
    parser.add_argument("--auth", choices=MODES, default="", help="how to sign in; token is read from KQLMI_TOKEN")
    parser.add_argument("--tenant", default="", help="the tenant to sign in to, by its ID or a domain")
    parser.add_argument(
        "--sign-in-identity",
        default="",
        help="for --auth managed-identity: system, client_id=GUID, object_id=GUID or resource_id=…",
    )
    parser.add_argument("--audience", default="", help="what the cluster may ask a token for that is not Kusto's")
    parser.set_defaults(run=run)
    return parser


def _session(options: argparse.Namespace) -> Session:
    return connect(
        options.cluster,
        auth=options.auth,
        tenant=options.tenant,
        sign_in_identity=options.sign_in_identity,
        audience=options.audience,
        history=not getattr(options, "no_history", False),
        resource_id=getattr(options, "resource_id", ""),
    )


def _export(options: argparse.Namespace) -> int:
    with _session(options) as session:
        files.write(options.file, session.export(files.read(options.file)))
    return 0


def _plan(options: argparse.Namespace) -> int:
    with _session(options) as session:
        plan, unmanaged = session.plan_file(options.file.read_bytes())
        text = planfile.FORMATS[options.format](plan, session.live(plan))
    print(text)
    if unmanaged:
        print(f"The file leaves alone: {', '.join(map(str, unmanaged))}.", file=sys.stderr)
    return _CHANGES if plan.steps else 0


def _apply(options: argparse.Namespace) -> int:
    document = options.file.read_bytes()
    with _session(options) as session:
        saved = options.file.suffix == ".json"
        plan = session.saved_plan(document.decode("utf-8", "replace")) if saved else session.plan_file(document)[0]
        print(planfile.to_text(plan, session.live(plan)), file=sys.stderr if options.json else sys.stdout)
        if plan.steps:
            _confirm(plan, yes=options.yes, revoke=options.revoke)
        try:
            applied = session.apply(plan, tell=lambda text: print(text, file=sys.stderr))
        except ApplyError as error:
            if options.json:
                print(_outcome(plan, error.outcome, error.steps))
            if isinstance(error.__cause__, ServiceError) and (orphans := edits.named_in(plan, error.message)):
                print(f"kqlmi: {planfile.to_warning(orphans)}", file=sys.stderr)
            raise
    if options.json:
        print(_outcome(plan, applied.outcome, applied.steps))
    elif plan.steps:
        print(f"\n{applied}")
    return 0


def _audit(options: argparse.Namespace) -> int:
    document = options.policy_file.read_bytes() if options.policy_file else b""
    with _session(options) as session:
        found = session.audit(document)
    forms = {"json": auditreport.to_json, "sarif": lambda one: auditreport.to_sarif(one, __version__), "text": _page}
    print(forms[options.format](found))
    return _CHANGES if found.worst(options.fail_on) else 0


def _page(found: Audit) -> str:
    """Give an audit with the commands that mend each finding."""
    lines = [str(found)]
    for one in found.findings:
        plan = found.plans.get(one.id)
        lines += ["", found.explain(one), *(f"  {step.command}" for step in (plan.steps if plan else ()))]
    return "\n".join(lines)


def _confirm(plan: PolicyPlan, *, yes: bool, revoke: bool) -> None:
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


def _outcome(plan: PolicyPlan, outcome: str, steps: Sequence[StepResult]) -> str:
    """Give the outcome as JSON: ``plan`` (its ID), ``cluster``, ``outcome``, and ``steps`` with ``scope`` and ``outcome``."""
    outcomes = [*(one.outcome for one in steps), *["not applied"] * (len(plan.steps) - len(steps))]
    rows = [{"scope": step.scope.name, "outcome": one} for step, one in zip(plan.steps, outcomes, strict=True)]
    return json.dumps({"plan": plan.id, "cluster": plan.cluster, "outcome": outcome, "steps": rows}, indent=2)


def _serve(options: argparse.Namespace) -> None:
    import signal

    from kqlmi import local

    # A service manager stops it as Ctrl+C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    local.serve(port=options.port)
