"""The verbs that explain a refusal, audit the policies of a cluster, and tighten them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kqlmi.errors import CellError, printable
from kqlmi.model.audit.accessmap import AccessMap
from kqlmi.model.audit.audit import Audit
from kqlmi.model.explain.explanation import verdict_rows
from kqlmi.model.explain.failures import FailureList
from kqlmi.model.statement import Statement
from kqlmi.model.uses.documents import DocumentKind
from kqlmi.report import Rows
from kqlmi.session import Refusal
from kqlmi.session.connections import files
from kqlmi.verbs.parameters import DatabaseName
from kqlmi.verbs.plans import Offer, content
from kqlmi.verbs.registry import Context, verb

_KINDS: Final[Mapping[str, DocumentKind]] = {".json": "json", ".bicep": "bicep", ".bicepparam": "bicep"}


@verb(task="Find what is wrong")
def explain(context: Context, text: str = "", /, *, last_failures: DatabaseName = "") -> Refusal | FailureList:
    """Explain why the last cell, plan, ingestion or assignment was refused, and print how to fix it.

    With TEXT in quotes, the text of a refusal from elsewhere, such as a log, is explained. --last-failures D lists the latest
    failures of ingestion and of continuous exports in the database D, each with what it means and how to fix it.

    Each gate is listed: the assignment of the identity, the usage in a policy, the target in the callout policy, the Azure
    role on the target, and the role in the database. A fix is a line to run unchanged; a grant is planned first.
    """
    if last_failures:
        return context.session.failures(last_failures)
    refusal = context.session.explain(text)
    if refusal is None:
        raise CellError(
            f"Nothing has been refused on {context.session.name} yet.",
            hint="To check a command before it is sent, put %%kqlmi check above it.",
        )
    return refusal


@verb(task="Find what is wrong", faces=("notebook", "shell"))
def check(context: Context, /, *, file: str, database: DatabaseName = "") -> Rows:
    """Check whether the policies allow each use of an identity in a file; nothing in the file is run.

    --file F is a script (.kql, .csl or any other text), an ARM template or a policy (.json), or a Bicep file (.bicep), of
    which only the string literals are read. There is one row for each identity, with its line in the file. An identity in a
    place that kqlmi does not know is an unknown flow. To check a cell instead, put %%kqlmi check above it.
    """
    what = f"Cannot read {printable(file)!r}"
    suffix = Path(file).suffix.casefold()
    kind = _KINDS.get(suffix, "kql")
    try:
        text = content(file, what, "Pass the path of a script, a template or a policy.").decode()
    except UnicodeDecodeError as error:
        raise CellError(f"{what}: byte {error.start + 1} is not UTF-8.", hint="Save the file as UTF-8.") from None
    found = verdict_rows(context.session.check(text, database, kind=kind), Statement(text))
    if kind == "bicep":
        context.note("Only the string literals of the Bicep file were read: an interpolation is an unknown value.")
    if not found.rows:
        context.note(f"{printable(file)} uses no managed identity.")
    return found


@verb(task="Find what is wrong", faces=("notebook", "shell"))
def audit(context: Context, finding: str = "", /, *, policy_file: str = "") -> Audit | Offer | str:
    """Audit the policies against actual use: find grants that are missing, unused, too broad or wrong.

    The result has one row for each finding. The ID of a finding shows its evidence and the plan that fixes it.
    --policy-file F hides the findings that F accepts. A grant is reported as unused only if it is proven unused;
    whatever could not be read is listed.
    """
    prompt, what = context.face.prompt, f"Cannot read {printable(policy_file)!r}"
    document = content(policy_file, what, f"To write a policy file, run {prompt}export FILE.") if policy_file else b""
    found = context.session.audit(document, progress=context.progress)
    if not finding:
        return found
    one = found.finding(finding)
    plan, text = found.plans.get(one.id), found.explain(one)
    return Offer(plan, before=text, key=one.id) if plan else text


@dataclass(frozen=True, slots=True)
class Page:
    """An HTML page, and the path to write it to."""

    html: str
    file: str

    def __str__(self) -> str:
        return f"Written: {printable(self.file)}"

    def write(self) -> None:
        """Write the page to the file."""
        files.write(Path(self.file), self.html)


@verb(task="See who may do what", faces=("notebook", "shell"))
def map_(context: Context, /, *, html: str = "") -> AccessMap | Page:
    """Show the access map: in what share of the databases each identity may be used for each usage, where, and why.

    Marks show what is granted cluster-wide or through All, proven unused, used without a grant, or granted to an identity
    that is not assigned. --html FILE writes a self-contained page with the map, the findings of audit and the plan of
    tighten.
    """
    if html:
        return Page(context.session.map_page(progress=context.progress), html)
    return context.session.map(progress=context.progress)


@verb(task="Find what is wrong")
def tighten(context: Context, /, *, also_unproven: bool = False) -> Offer:
    """Plan the smallest policies that keep everything that identities are actually used for.

    A reason with its evidence is shown for each grant that is kept or revoked. A grant that cannot be proven unused, such
    as one for ingestion by an SDK, is kept; --also-unproven revokes it too. No new access is granted.
    """
    found = context.session.tighten(also_unproven=also_unproven, progress=context.progress)
    unchecked = f"Not checked: orphans, because {found.why_not_assigned}" if found.why_not_assigned else ""
    return Offer(found.plan, before="\n\n".join(filter(None, [unchecked, str(found.reasons)])))
