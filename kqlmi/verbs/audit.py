"""The verbs that explain a refusal, audit the policies of a cluster, and tighten them."""

from kqlmi.errors import CellError, printable
from kqlmi.model.audit.audit import Audit
from kqlmi.session import Refusal
from kqlmi.verbs.plans import Offer, content
from kqlmi.verbs.registry import Context, verb


@verb()
def explain(context: Context, /) -> Refusal:
    """Explain why the last command or query was refused, and print what mends it.

    The gates are told apart: the identity is assigned, a policy allows the usage, the callout policy allows the target,
    the Azure role on it, the role in the database. A mend is a line to run as it stands; a grant is planned first.
    """
    refusal = context.session.refusal
    if refusal is None:
        raise CellError(f"Nothing was refused on {context.session.name} yet.", hint="%%kqlmi check looks ahead.")
    return refusal


@verb(faces=("notebook", "shell"))
def audit(context: Context, finding: str = "", /, *, policy_file: str = "") -> Audit | Offer | str:
    """Audit the policies against what is really used: what is missing, unused, too broad or wrong, and how to mend it.

    Gives one row for each finding. With the ID of a finding: shows its evidence and the plan that mends it. --policy-file F
    leaves out the findings that F accepts. What cannot be proven unused is never called unused; what was not read is named.
    """
    prompt, what = context.face.prompt, f"{printable(policy_file)!r} cannot be read"
    document = content(policy_file, what, f"{prompt}export FILE writes a policy file.") if policy_file else b""
    found = context.session.audit(document, progress=context.progress)
    if not finding:
        return found
    one = found.finding(finding)
    plan, text = found.plans.get(one.id), found.explain(one)
    return Offer(plan, before=text, key=one.id) if plan else text


@verb()
def tighten(context: Context, /, *, also_unproven: bool = False) -> Offer:
    """Plan the smallest policies that keep everything that identities are really used for.

    Each grant that stays or goes is given its reason, with the evidence. What cannot be proven unused, as ingestion by
    an SDK, stays; --also-unproven takes that away too. Nothing is granted that was not allowed before.
    """
    found = context.session.tighten(also_unproven=also_unproven, progress=context.progress)
    unchecked = f"Not checked: orphans, because {found.why_not_assigned}" if found.why_not_assigned else ""
    return Offer(found.plan, before="\n\n".join(filter(None, [unchecked, str(found.reasons)])))
