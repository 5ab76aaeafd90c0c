"""Plans as verbs return them, and the lookup of a plan by its ID or file."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

from kqlmi.errors import CellError, printable
from kqlmi.model.entities import Scope, did_you_mean
from kqlmi.model.plan import planfile
from kqlmi.model.plan.plan import SHOWN, Plan
from kqlmi.model.plan.planfile import NOTHING, Live
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy.policy import Snapshot
from kqlmi.report import Described, Report, shortens, to_markdown, to_text
from kqlmi.session import Session
from kqlmi.verbs.registry import Context

PlanFormat = Annotated[str, (*planfile.FORMATS,)]
_LARGEST: Final = 16 << 20
"""The size of the largest file that is read, in bytes."""


@dataclass(frozen=True, slots=True, repr=False)
class Offer(Described):
    """A plan to show, which ``apply`` then accepts by its ID or ``key``.

    ``live`` is what the cluster reports about the plan now; ``before`` and ``after`` are shown around it.
    ``every_step`` shows each step with its command, instead of identical ones as one.
    """

    plan: Plan
    live: Live = NOTHING
    before: str = ""
    after: tuple[str, ...] = ()
    key: str = ""
    every_step: bool = False

    @property
    def folds(self) -> bool:
        """Return whether identical steps are shown as one."""
        return self.report() != self.full().report()

    def hides(self, at_most: float) -> bool:
        """Return whether the text leaves out names if it shows ``at_most`` characters of each list."""
        return shortens(self.report(), at_most)

    def full(self) -> "Offer":
        """Return the offer with every step and its command."""
        return replace(self, every_step=True)

    def report(self) -> Report:
        """Return the plan and what the cluster reports about it."""
        return self.live.beside(self.plan.full() if self.every_step else self.plan.report())

    def __str__(self) -> str:
        return "\n\n".join(filter(None, [self.before, to_text(self.report())]))

    def written(self, form: str) -> str:
        """Return the plan in one of ``planfile.FORMATS``; raise CellError if this kind of plan can only be shown as text."""
        if form == "text":
            return str(self)
        if form == "markdown":
            return to_markdown(self.report())
        if not isinstance(self.plan, PolicyPlan):
            raise CellError(f"Plan {self.plan.short} changes Azure resources, and can only be shown as text.")
        return planfile.FORMATS[form](self.plan, self.live)


def offer(session: Session, plan: Plan, *, warn: bool = False, known: Snapshot | None = None, **around: Any) -> Offer:
    """Return a plan with the uses that it would stop; ``warn`` adds a warning about identities that are not assigned.

    ``known`` contains all policies, if they were read just now. ``around`` sets other fields of the offer.
    """
    return Offer(plan, session.live(plan, known, warn=warn), **around)


def find(context: Context, text: str) -> tuple[Session, Plan, tuple[Scope, ...]]:
    """Return the session, the plan, and the scopes that the policy file does not manage.

    ``text`` is the ID of a plan that was shown, or the path of a saved plan or a policy file.

    Raises:
        CellError: No such plan was shown, and the file cannot be read.
    """
    opened = [context.session] if context.on else context.sessions.opened
    for session in opened:
        if key := _shown(session, text):
            return session, session.plans[key], ()
    ids = [key[:SHOWN] for session in opened for key in session.plans]
    hint = did_you_mean(text, ids) if ids else f"To write a policy file, run {context.face.prompt}export FILE."
    document = content(
        text, f"{printable(text)!r} is neither the ID of a plan that was shown nor a readable file", hint
    )
    session = context.session
    if Path(text).suffix == ".json":
        return session, session.saved_plan(document.decode("utf-8", "replace")), ()
    return session, *session.plan_file(document)


def _shown(session: Session, text: str) -> str:
    """Return the key of a plan that was shown, by its whole ID or at least the displayed part, or an empty string."""
    found = [key for key in session.plans if key == text or (len(text) >= SHOWN and key.startswith(text))]
    if len(found) > 1:
        raise CellError(f"Several plan IDs begin with {text}.", hint=f"Pass the whole ID: {', '.join(found)}.")
    return found[0] if found else ""


def content(file: str, what: str, hint: str) -> bytes:
    """Return the content of a file.

    Raises:
        CellError: The file cannot be read, or is too large. The message begins with ``what``.
    """
    try:
        with Path(file).open("rb") as opened:
            found = opened.read(_LARGEST + 1)
    except OSError as error:
        raise CellError(f"{what}: {error.strerror}.", hint=hint) from None
    if len(found) > _LARGEST:
        raise CellError(f"{what}: it is larger than {_LARGEST >> 20} MiB.", hint=hint)
    return found


def keys(session: Session, plan: Plan) -> Sequence[str]:
    """Return the keys under which a plan was shown."""
    return [key for key, one in session.plans.items() if one.id == plan.id]
