"""The subcommands that audit the policies of a cluster, and that tighten them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kqlmi.errors import CellError, printable
from kqlmi.model.audit.audit import Audit
from kqlmi.notebook.frames import frame
from kqlmi.notebook.progress import Progress
from kqlmi.verbs.plans import offer
from kqlmi.verbs.registry import Context, subcommand

if TYPE_CHECKING:
    import pandas as pd


@subcommand
def audit(context: Context, finding: str = "", /, *, policy_file: str = "") -> Any:
    """Audit the policies against what is really used: what is missing, unused, too broad or wrong, and how to mend it.

    Prints a page and gives one row for each finding. With the ID of a finding: shows its evidence and the plan that
    mends it, which %kqlmi apply ID then carries out. --policy-file F leaves out the findings that F accepts. What cannot
    be proven unused is never called unused; what was not read is named.
    """
    session = context.session
    with Progress() as progress:
        found = session.audit(_read(policy_file) if policy_file else b"", progress=progress)
    if not finding:
        print(found)
        if found.findings:
            print("To see the evidence of a finding and the plan that mends it: %kqlmi audit ID")
        return findings_frame(found)
    one = found.finding(finding)
    print(found.explain(one))
    plan = found.plans.get(one.id)
    if plan:
        print()
        offer(session, plan, one.id)
    return None


@subcommand
def tighten(context: Context, /, *, also_unproven: bool = False) -> None:
    """Plan the smallest policies that keep everything that identities are really used for.

    Each grant that stays or goes is given its reason, with the evidence. What cannot be proven unused, as ingestion by
    an SDK, stays; --also-unproven takes that away too. Nothing is granted that was not allowed before.
    """
    session = context.session
    with Progress() as progress:
        found = session.tighten(also_unproven=also_unproven, progress=progress)
    if found.why_not_assigned:
        print(f"Not checked: orphans, because {found.why_not_assigned}\n")
    if reasons := str(found.reasons):
        print(f"{reasons}\n")
    offer(session, found.plan)


def findings_frame(found: Audit) -> "pd.DataFrame":
    """Return one row for each finding, by severity.

    Columns: ``finding`` (its ID), ``severity``, ``rule``, ``scope``, ``object_id``, ``usage``, ``message``, ``evidence`` (a
    list: each with its source and window), ``mended_by`` (the plan's summary, empty where there is none) and ``why_not``.
    """
    return frame(
        found.findings,
        {
            "finding": lambda one: one.id,
            "severity": lambda one: one.severity,
            "rule": lambda one: one.rule,
            "scope": lambda one: str(one.scope),
            "object_id": lambda one: one.identity,
            "usage": lambda one: one.usage,
            "message": lambda one: one.message,
            "evidence": lambda one: list(map(str, one.evidence)),
            "mended_by": lambda one: found.plans[one.id].summary if one.id in found.plans else "",
            "why_not": lambda one: one.fix.why_not,
        },
    )


def _read(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise CellError(
            f"{printable(file)!r} cannot be read: {error.strerror}.", hint="%kqlmi export FILE writes a policy file."
        ) from None
