"""The panel: a widget over a draft, in which identities are ticked for workflows."""

import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from threading import RLock
from typing import Any, Final

import traitlets

from kqlmi.errors import ApplyError, InputError, KqlmiError, PolicyError, printable
from kqlmi.model.entities import Identity, ObjectId, Scope, object_id
from kqlmi.model.plan import edits
from kqlmi.model.plan.draft import Draft
from kqlmi.model.plan.plan import Plan
from kqlmi.model.policy.policy import Snapshot
from kqlmi.notebook.panel import display, matrix, words
from kqlmi.notebook.panel.reader import Reader
from kqlmi.notebook.panel.requests import Requests, alone
from kqlmi.notebook.panel.view import View
from kqlmi.session import Applied, Session, StepResult

ALL_SCOPES: Final = -1


class Panel(View):
    """Ticks over the policies of a cluster, with preview, execution, verification and undo.

    ``draft`` holds the ticks; set it, or let ``tick`` and ``untick`` do so, and the view follows. ``plan`` is what
    Execute would apply, and ``apply`` applies it. A panel is open, and holds what it read, until ``close``: as long
    as the kernel runs it can be shown again, even if no page does.
    """

    closed = False

    def __init__(self, session: Session, scope: Scope, *, assigned: Iterable[Identity] | None = None) -> None:
        """Read the cluster's policy and that of ``scope``, and show the latter.

        ``assigned`` are the identities that are assigned to the cluster; by default Azure Resource Manager is asked, where
        the session knows the cluster's resource ID. Without them it is not told which ones are orphans.

        Raises:
            InputError: There is no such database.
            ServiceError: The policy of ``scope`` may not be read.
        """
        self._session = session
        self._reader = Reader(
            session,
            (Scope.cluster(), *map(Scope.database, session.databases())),
            None if assigned is None else tuple(assigned),
        )
        if scope not in self._reader.scopes:
            scope = session.database_scope(str(scope.name))
        self._may_ask = self._asks_assigned = assigned is None and session.resource is not None
        self._added: tuple[str, ...] = ()
        self._shown: Plan | None = None
        self._overview = False
        self._draft, _ = self._reader.read(Draft(scope, Snapshot()), [Scope.cluster(), scope])
        if scope in self._reader.refused:
            raise self._reader.refused[scope]
        self.panel_id, self.cluster = uuid.uuid4().hex, printable(session.name)
        self.scopes = [session.met.label(one) for one in self._reader.scopes]
        if denial := session.denial():
            self.denial = {"reason": denial.reason, "certain": denial.certain}
        self._put(self._draft, anew=True)
        self.lock = RLock()
        self._requests = Requests(self)
        # Last, so that one message opens the panel with all that it shows.
        super().__init__()
        self.comm.on_close(lambda _message: self.close())
        self._own_layout = self.layout

    def close(self) -> None:
        """Close the view, and release what was read: a closed panel shows nothing and refuses what is asked of it."""
        if self.comm is None:  # closed before, or never opened
            return
        with self.lock:
            super().close()
            self._own_layout.close()
            self.unobserve_all()
            for name in View.class_own_traits():
                self.set_trait(name, self.trait_defaults(name))
            self.closed = True
            del self._session, self._reader, self._added, self._shown, self._draft, self._cells
            del self._requests, self._own_layout

    def open(self) -> None:
        """Open the view, once; InputError if the panel is closed."""
        self.check_open()
        super().open()

    def check_open(self) -> None:
        """Raise InputError if the panel is closed."""
        if self.closed:
            raise InputError("The panel is closed.", hint="%kqlmi panel opens another.")

    def __repr__(self) -> str:
        """Return what it is on; the view itself is shown by ``_repr_mimebundle_``."""
        return "<closed kqlmi panel>" if self.closed else f"<kqlmi panel on {self.cluster}>"

    @property
    def draft(self) -> Draft:
        """Give the ticks as they are."""
        self.check_open()
        return self._draft

    @draft.setter
    @alone
    def draft(self, draft: Draft) -> None:
        with self.hold_sync():
            # A preview that no longer is what the ticks say must not stay executable.
            self.close_preview()
            self.question, self.status = None, {}
            self._put(draft)

    @property
    def plan(self) -> Plan:
        """Give the plan that leads from the policies that were read to the ticks."""
        return self.draft.plan(self._session.name, self.names)

    @property
    def names(self) -> Mapping[str, str]:
        """Return the display names that are known, by identity."""
        self.check_open()
        return self._reader.names

    @alone
    def tick(self, identity: str, *, usage: str = "", workflow: str = "") -> None:
        """Tick a usage, or the usage of a workflow, for an identity."""
        self.draft = self._draft.tick(self._who(identity), usage=usage, workflow=workflow)

    @alone
    def untick(self, identity: str, *, usage: str = "", workflow: str = "") -> None:
        """Take a tick away; InputError if the usage would stay allowed through ``All``."""
        self.draft = self._draft.untick(self._who(identity), usage=usage, workflow=workflow)

    @alone
    def add(self, identity: str) -> ObjectId:
        """Add a row for an identity, by its object ID, client ID or name, and show all rows.

        Raises:
            PolicyError: Nobody knows an identity of that name.
            InputError: Several identities have the name.
        """
        holder = self._who(identity)
        self._added = (*self._added, holder)
        with self.hold_sync():
            self.search, self.row_filter = "", "all"
            self._put(self._draft, anew=True)
        return holder

    def _who(self, text: str) -> ObjectId:
        """Return the identity that is meant; for a name that is not known yet, the session is asked."""
        known = self._reader.directory
        if one := known.named(text):
            return one.object_id
        try:
            return known.key(object_id(text))
        except PolicyError as error:
            try:
                return self._reader.directory.key(self._session.identity(text))
            except InputError as unknown:
                if self._reader.directory.find(text):
                    raise
                raise PolicyError(error.message, hint=unknown.hint) from error

    @alone
    def choose(self, scope: Scope | None) -> None:
        """Show another scope, which is read now; None is the effective view across all that were read."""
        draft, others = (self._draft, []) if scope is None else self._reader.read(self._draft, [scope])
        with self.hold_sync():
            self._overview = scope is None
            self.question, self.status = None, {}
            self._tell_of(others, ticks=bool(draft.ticks))
            self._put(draft.at(scope) if scope else draft, anew=True)

    def choose_at(self, place: int) -> None:
        """Show the scope at a place in ``scopes``, or the effective view at -1."""
        self.choose(None if place == ALL_SCOPES else self._reader.scopes[place])

    @alone
    def read_more(self) -> bool:
        """Read which identities are assigned, then the policies of the next few scopes; False where none is left."""
        wanted = self._reader.next(self._draft)
        if self._asks_assigned:
            self._asks_assigned = False
            try:
                self._session.assigned()
            except KqlmiError as error:
                self._session.know(self._session.met.directory.unsure_of_assigned())
                self.assignments = f"Which identities are orphans is not known. {error}"
            self._put(self._draft.rebase(Snapshot(), self._reader.directory), anew=True)
        elif wanted:
            # What is read in addition changes no plan that is shown.
            draft, _ = self._reader.read(self._draft, wanted)
            # Which system identity is the one of now, where policies name several, is for Azure to tell.
            known = self._session.met.directory
            self._asks_assigned = self._may_ask and known.assigned is not None and len(known.systems) > 1
            self._put(draft, anew=True)
        return self.more

    @alone
    def read_again(self) -> None:
        """Read again what is shown and what the ticks stand on, put the ticks over it, and tell what others changed."""
        more = self._draft.read.policies if self._overview else ()
        self._take(*self._reader.read_again(self._draft, more=more))

    @alone
    def show(self, plan: Plan) -> None:
        """Show a plan, which may then be executed once it is known what it would stop."""
        wanted = edits.after(self._draft.read, plan)
        shown = words.plan(plan, wanted, self._reader.unread(wanted))
        with self.hold_sync():
            self._shown, self.question, self.status, self.progress = plan, None, {}, []
            self.preview = {**shown, "impact": None}
        try:
            impact = list(self._session.impact(plan).lines)
        except Exception as error:  # noqa: BLE001 - whatever it was, it must not be taken for "nothing stops"
            impact = [f"Cannot be known: what would stop, because {printable(str(error))}"]
        except BaseException:
            self.close_preview()
            raise
        self.preview = {**shown, "impact": impact}

    @alone
    def close_preview(self) -> None:
        """Show no plan, so that none can be executed."""
        self._shown, self.preview, self.progress = None, None, []

    @alone
    def execute(self, plan_id: str, *, confirmed: bool = False) -> None:
        """Carry out the plan that is shown; what takes something away wants to be confirmed.

        Raises:
            InputError: Another plan is shown, or none, or it was not confirmed.
            ApplyError: It did not go through; the error says what landed.
        """
        plan = self._shown
        if plan is None or plan.id != plan_id or self.preview["impact"] is None:
            raise InputError("This preview is out of date.", hint="Preview the change again.")
        if plan.revokes and not confirmed:
            raise InputError("The change takes something away.", hint="Confirm it to go on.")
        self._carry_out(plan)

    @alone
    def apply(self) -> Applied:
        """Carry out ``plan``, and show what was read back.

        Raises:
            ApplyError: It did not go through; the error says what landed.
        """
        return self._carry_out(self.plan)

    @alone
    def undo(self) -> None:
        """Show the plan that takes back what the panel applied last; InputError if somebody changed it since."""
        if not self.undoable:
            raise InputError("There is nothing to undo here.", hint="%kqlmi history lists the changes.")
        plan = self._session.undo_plan(self.undoable)
        self._take(*self._reader.read(self._draft, dict.fromkeys(step.scope for step in plan.steps)))
        self.show(plan)

    @alone
    def discard(self) -> None:
        """Take every tick away, and read again what is shown."""
        self.draft, self.theirs = Draft(self._draft.scope, self._draft.read), []
        self.read_again()

    @property
    def place(self) -> int:
        """Give the place of the scope that is shown in ``scopes``; -1 is the effective view across all."""
        return ALL_SCOPES if self._overview else self._reader.scopes.index(self._draft.scope)

    @traitlets.validate("scope")
    def _is_place(self, proposal: dict[str, Any]) -> int:
        self.check_open()
        if not ALL_SCOPES <= proposal["value"] < len(self._reader.scopes):
            raise traitlets.TraitError(f"There is no scope at {proposal['value']}.")
        return int(proposal["value"])

    @traitlets.observe("scope")
    def _follow(self, change: dict[str, Any]) -> None:
        """Choose the scope that a notebook sets by its place; where it cannot be, what is shown stays."""
        if change["new"] != self.place:
            try:
                self.choose_at(change["new"])
            finally:
                self.scope = self.place

    def _repr_mimebundle_(self, **options: Any) -> Any:
        bundle = super()._repr_mimebundle_(**options)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle or {}, {})
        texts = {
            "text/plain": display.text(self._draft, self._session.name),
            "text/html": display.html(self._draft, self._session.name),
        }
        return {**data, **texts}, metadata

    def _take(self, draft: Draft, others: list[str]) -> None:
        """Draw a draft over policies that were read again; a preview stays only where nothing moved."""
        with self.hold_sync():
            if others:
                self.close_preview()
            self._tell_of(others)
            self._put(draft, anew=True)

    def _tell_of(self, others: list[str], *, ticks: bool = True) -> None:
        """Keep what others changed until it was seen; without ticks, that it is drawn is enough."""
        self.theirs = [*self.theirs, *(others if ticks else ())]

    def _carry_out(self, plan: Plan) -> Applied:
        """Carry out a plan; the ticks that it meets go, by what was read back."""

        def progress(done: tuple[StepResult, ...]) -> None:
            outcomes = [one.outcome for one in done] + [""] * (len(plan.steps) - len(done))
            self.progress = [
                {"scope": str(step.scope), "outcome": outcome}
                for step, outcome in zip(plan.steps, outcomes, strict=True)
            ]

        try:
            applied = self._session.apply(plan, progress=progress, tell=self._tell)
        except ApplyError as error:
            if error.entry and any(one.outcome == "applied" for one in error.steps):
                self.undoable = error.entry
            # The steps stay to be seen, and none of them is carried out a second time.
            done, self._shown = self.progress, None
            # That it cannot be read again, or is interrupted, must not hide what happened to the plan.
            with suppress(KqlmiError, KeyboardInterrupt):
                more = dict.fromkeys(step.scope for step in plan.steps)
                self._take(*self._reader.read_again(self._draft, plan.changes, more))
            self.progress = done
            raise
        now = Snapshot({one.step.scope: one.policy for one in applied.steps})
        others = self._reader.foreign(self._draft.read, now, plan.changes)
        self.draft = self._draft.rebase(now)
        self._tell_of(others)
        if plan.steps:
            self.undoable = "" if plan.undoes else applied.entry
        if applied.repair:
            with suppress(KqlmiError, KeyboardInterrupt):
                self.show(self._session.plan(applied.repair))
        self.status = {"kind": "done", "text": str(applied), "hint": ""}
        return applied

    def _tell(self, text: str) -> None:
        if self.working:
            self.working = {**self.working, "text": text}

    def _put(self, draft: Draft, *, anew: bool = False) -> None:
        """Draw a draft; all of it where other policies or another scope are to be seen, and else just the ticks."""
        anew = anew or draft.read is not self._draft.read or draft.scope != self._draft.scope
        self._draft, refused = draft, self._reader.refused
        with self.hold_sync():
            if anew:
                self._cells = matrix.OfAll(draft.read) if self._overview else matrix.OfScope(draft.scope)
                self.scope = self.place
                self.refusal = str(refused[draft.scope]) if draft.scope in refused and not self._overview else ""
                self.columns = matrix.columns(draft)
                known = draft.directory
                more = map(known.key, (*self._added, *(identity for _, identity, _ in draft.ticks)))
                self.identities = matrix.identities(draft.read, [*more], known)
                readable = self._overview or draft.scope in draft.read.policies
                self.cells = matrix.rows(self._cells, draft, self.identities) if readable else []
                self.more = self._asks_assigned or bool(self._reader.next(draft))
            self.edited = {} if self._overview else matrix.edited(self._cells, draft)
            self.legend = list(self._cells.legend.states)
            self.summary = draft.summary
            self.scope_states = matrix.scope_states(self._reader.scopes, draft, refused)
