"""Plans as verbs return them, and how one that was shown, or that a file wants, is found again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from kqlmi.errors import CellError, printable
from kqlmi.model.entities import Scope, did_you_mean
from kqlmi.model.plan import planfile
from kqlmi.model.plan.plan import SHOWN, Plan
from kqlmi.model.plan.planfile import NOTHING, Live
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy.policy import Snapshot
from kqlmi.session import Session
from kqlmi.verbs.registry import Context

PlanFormat = Annotated[str, (*planfile.FORMATS,)]


@dataclass(frozen=True, slots=True)
class Offer:
    """A plan to look at, which ``apply`` takes by its ID or ``key`` once it was shown.

    ``live`` is what the cluster says of it at the moment; ``before`` and ``after`` are what else is said around it.
    """

    plan: Plan
    live: Live = NOTHING
    before: str = ""
    after: tuple[str, ...] = ()
    key: str = ""

    def __str__(self) -> str:
        return "\n\n".join(filter(None, [self.before, planfile.to_text(self.plan, self.live)]))

    def written(self, form: str) -> str:
        """Return the plan as one of ``planfile.FORMATS``; CellError where its kind has only text."""
        if form == "text":
            return str(self)
        if not isinstance(self.plan, PolicyPlan):
            raise CellError(f"Plan {self.plan.short} is for Azure, and has no other format than text.")
        return planfile.FORMATS[form](self.plan, self.live)


def offer(session: Session, plan: Plan, *, warn: bool = False, known: Snapshot | None = None, **around: Any) -> Offer:
    """Return a plan with the uses that it would stop; ``warn`` of identities in it that are not assigned.

    ``known`` are all policies, where they were read just now. ``around`` are other fields of the offer.
    """
    return Offer(plan, session.live(plan, known, warn=warn), **around)


def find(context: Context, text: str) -> tuple[Session, Plan, tuple[Scope, ...]]:
    """Return the plan that was shown under an ID, or the one of a file: saved, or what a policy file wants.

    With it comes the session that it is for, and the scopes that a policy file leaves alone.

    Raises:
        CellError: There is neither.
    """
    opened = [context.session] if context.on else context.sessions.opened
    for session in opened:
        if key := _shown(session, text):
            return session, session.plans[key], ()
    ids = [key[:SHOWN] for session in opened for key in session.plans]
    hint = did_you_mean(text, ids) if ids else f"{context.face.prompt}export FILE writes a file."
    document = content(text, f"{printable(text)!r} is neither a plan that was shown nor a file that can be read", hint)
    session = context.session
    if Path(text).suffix == ".json":
        return session, session.saved_plan(document.decode("utf-8", "replace")), ()
    return session, *session.plan_file(document)


def _shown(session: Session, text: str) -> str:
    """Return the key of the plan that was shown under an ID, of which all or the shown characters are given; or nothing."""
    found = [key for key in session.plans if key == text or (len(text) >= SHOWN and key.startswith(text))]
    if len(found) > 1:
        raise CellError(f"Several plans begin with {text}.", hint=f"Write the whole ID: {', '.join(found)}.")
    return found[0] if found else ""


def content(file: str, what: str, hint: str) -> bytes:
    """Return what a file holds; CellError, which begins with ``what``, where it cannot be read."""
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise CellError(f"{what}: {error.strerror}.", hint=hint) from None


def keys(session: Session, plan: Plan) -> Sequence[str]:
    """Return the keys under which a plan was shown."""
    return [key for key, one in session.plans.items() if one.id == plan.id]
