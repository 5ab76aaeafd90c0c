"""The editor of a panel: it drafts ticks over the policies that were read, and previews, applies and undoes them."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

import traitlets

from kqlmi.errors import ApplyError, InputError, KqlmiError, printable
from kqlmi.model.entities import Identity, ObjectId, Scope
from kqlmi.model.plan import edits
from kqlmi.model.plan.draft import Draft
from kqlmi.model.plan.policy_plan import PolicyPlan
from kqlmi.model.policy.policy import Snapshot
from kqlmi.notebook.panel import matrix, words
from kqlmi.notebook.panel.reader import Reader
from kqlmi.notebook.panel.view import View, alone
from kqlmi.session import Applied, Session, StepResult

ALL_SCOPES: Final = -1


class Editor(View):
    """Ticks over the policies of a cluster; each method changes them, and updates the traits that show them."""

    def __init__(self, session: Session, scope: Scope, *, assigned: Iterable[Identity] | None = None) -> None:
        self._session = session
        scopes = (Scope.cluster(), *map(Scope.database, session.databases()))
        self._reader = Reader(session, scopes, None if assigned is None else tuple(assigned))
        if scope not in self._reader.scopes:
            scope = session.database_scope(str(scope.name))
        self._added: tuple[str, ...] = ()
        self._shown: PolicyPlan | None = None
        self._overview = False
        draft, _ = self._reader.read(Draft(scope, Snapshot()), [Scope.cluster(), scope])
        if scope in self._reader.refused:
            raise self._reader.refused[scope]
        self.cluster = printable(session.name)
        self.scopes = [session.known.label(one) for one in self._reader.scopes]
        if denial := session.denial():
            self.denial = words.denial(denial)
        self._draw(draft)
        # Last, so that a single message opens the panel with its whole content.
        super().__init__()

    @property
    def draft(self) -> Draft:
        """Return the current ticks."""
        self.check_open()
        return self._draft

    @draft.setter
    @alone
    def draft(self, draft: Draft) -> None:
        with self.hold_sync():
            # An outdated preview must not stay executable.
            self.close_preview()
            self.question, self.status = None, {}
            self._draw(draft, ticks_only=draft.read is self._draft.read and draft.scope == self._draft.scope)

    @property
    def plan(self) -> PolicyPlan:
        """Return the plan that changes the policies that were read to match the ticks."""
        return self.draft.plan(self._session.name, self.names)

    @property
    def names(self) -> Mapping[str, str]:
        """Return the known display names by identity."""
        self.check_open()
        return self._reader.names

    @alone
    def tick(self, identity: str, usage: str) -> None:
        """Tick a usage, or the usage that a workflow needs, for an identity."""
        self.draft = self._draft.tick(self._reader.identity(identity), usage)

    @alone
    def untick(self, identity: str, usage: str) -> None:
        """Remove a tick; raise InputError if the usage would stay allowed through ``All``."""
        self.draft = self._draft.untick(self._reader.identity(identity), usage)

    @alone
    def add(self, identity: str) -> ObjectId:
        """Add a row for an identity, by its object ID, client ID or name, and show all rows.

        Raises:
            PolicyError: No identity with that name is known.
            InputError: Several identities have the name.
        """
        added = self._reader.identity(identity)
        self._added = (*self._added, added)
        with self.hold_sync():
            self.search, self.row_filter = "", "all"
            self._draw(self._draft)
        return added

    @alone
    def choose(self, scope: Scope | None) -> None:
        """Read and show another scope; None shows the effective access across all scopes that were read."""
        draft, others = (self._draft, []) if scope is None else self._reader.read(self._draft, [scope])
        with self.hold_sync():
            self._overview = scope is None
            self.question, self.status = None, {}
            self._add_theirs(others, ticks=bool(draft.ticks))
            self._draw(draft.at(scope) if scope else draft)

    def choose_at(self, place: int) -> None:
        """Show the scope at an index in ``scopes``, or the effective access for -1."""
        self.choose(None if place == ALL_SCOPES else self._reader.scopes[place])

    @alone
    def read_more(self) -> bool:
        """Read the assigned identities, or else the policies of the next few scopes; return whether more is left to read."""
        if self._reader.asks_assigned:
            self.assignments = self._reader.read_assigned() or self.assignments
            self._draw(self._draft.rebase(Snapshot(), self._reader.directory))
        elif self._reader.next(self._draft):
            # Reading more scopes does not change the plan that is shown.
            self._draw(self._reader.read_next(self._draft))
        return self.more

    @alone
    def read_again(self) -> None:
        """Read the policies that are shown or have ticks again, keep the ticks, and show what others changed."""
        more = self._draft.read.policies if self._overview else ()
        self._draw_again(*self._reader.read_again(self._draft, more=more))

    @alone
    def show(self, plan: PolicyPlan) -> None:
        """Show a plan, which can be executed as soon as its impact has been determined."""
        wanted = edits.after(self._draft.read, plan)
        shown = words.plan(plan, wanted, self._reader.unread(wanted))
        with self.hold_sync():
            self._shown, self.question, self.status, self.progress = plan, None, {}, []
            self.preview = {**shown, "impact": None, "stops": 0}
        try:
            found = self._session.impact(plan)
            impact, stops = list(found.lines), len(found.stopping)
        except Exception as error:  # noqa: BLE001 - any error must be shown, not taken for "nothing stops"
            impact, stops = [f"Cannot be determined: what would stop, because {printable(str(error))}"], 0
        except BaseException:
            self.close_preview()
            raise
        self.preview = {**shown, "impact": impact, "stops": stops}

    @alone
    def close_preview(self) -> None:
        """Close the preview, so that no plan can be executed."""
        self._shown, self.preview, self.progress = None, None, []

    @alone
    def execute(self, plan_id: str, *, confirmed: bool = False) -> None:
        """Apply the plan that is shown; a plan that revokes must be ``confirmed``.

        Raises:
            InputError: The plan is not the one that is shown, or it was not confirmed.
            ApplyError: The plan was not applied as a whole; the error reports what was applied.
        """
        plan = self._shown
        if plan is None or plan.id != plan_id or self.preview["impact"] is None:
            raise InputError("This preview is out of date.", hint="Preview the change again.")
        if plan.revokes and not confirmed:
            raise InputError("The change removes access.", hint="Confirm it to continue.")
        self._apply(plan)

    @alone
    def apply(self) -> Applied:
        """Apply ``plan``, and show the policies that were read afterwards.

        Raises:
            ApplyError: The plan was not applied as a whole; the error reports what was applied.
        """
        return self._apply(self.plan)

    @alone
    def undo(self) -> None:
        """Show the plan that undoes the panel's last change; raise InputError if the policies have changed since."""
        if not self.undoable:
            raise InputError("This panel has no change to undo.", hint="To list all changes, run %kqlmi history.")
        plan = self._session.undo_plan(self.undoable)
        self._draw_again(*self._reader.read(self._draft, dict.fromkeys(step.scope for step in plan.steps)))
        self.show(plan)

    @alone
    def discard(self) -> None:
        """Remove all ticks, and read the shown policies again."""
        self.draft, self.theirs = Draft(self._draft.scope, self._draft.read), []
        self.read_again()

    @property
    def place(self) -> int:
        """Return the index in ``scopes`` of the scope that is shown; -1 is the effective access across all."""
        return ALL_SCOPES if self._overview else self._reader.scopes.index(self._draft.scope)

    @traitlets.validate("scope")
    def _is_place(self, proposal: dict[str, Any]) -> int:
        self.check_open()
        if not ALL_SCOPES <= proposal["value"] < len(self._reader.scopes):
            raise traitlets.TraitError(
                f"Scope {proposal['value']} does not exist: scopes has {len(self._reader.scopes)} items."
            )
        return int(proposal["value"])

    @traitlets.observe("scope")
    def _follow(self, change: dict[str, Any]) -> None:
        """Show the scope whose index a notebook has set; if it cannot be read, the current scope stays."""
        if change["new"] != self.place:
            try:
                self.choose_at(change["new"])
            finally:
                self.scope = self.place

    def _draw_again(self, draft: Draft, others: list[str]) -> None:
        """Draw a draft over policies that were read again; close a preview if others changed them."""
        with self.hold_sync():
            if others:
                self.close_preview()
            self._add_theirs(others)
            self._draw(draft)

    def _add_theirs(self, others: list[str], *, ticks: bool = True) -> None:
        """Show what others changed until it is dismissed; without ``ticks``, the matrix alone shows it."""
        self.theirs = [*self.theirs, *(others if ticks else ())]

    def _apply(self, plan: PolicyPlan) -> Applied:
        """Apply a plan; ticks that match the policies read afterwards disappear."""

        def progress(results: tuple[StepResult, ...]) -> None:
            self.progress = words.progress(plan, [one.outcome for one in results])

        try:
            applied = self._session.apply(plan, progress=progress, tell=self._show_progress)
        except ApplyError as error:
            if error.entry and any(one.outcome == "applied" for one in error.steps):
                self.undoable = error.entry
            # The outcomes of the steps stay visible, and the plan cannot be executed again.
            done, self._shown = self.progress, None
            # A failed or interrupted reading must not hide the ApplyError.
            with suppress(KqlmiError, KeyboardInterrupt):
                more = dict.fromkeys(step.scope for step in plan.steps)
                self._draw_again(*self._reader.read_again(self._draft, plan.changes, more))
            self.progress = done
            raise
        now = Snapshot({one.step.scope: one.policy for one in applied.steps})
        others = self._reader.foreign(self._draft.read, now, plan.changes)
        self.draft = self._draft.rebase(now)
        self._add_theirs(others)
        if plan.steps:
            self.undoable = "" if plan.undoes else applied.entry
        if applied.repair:
            with suppress(KqlmiError, KeyboardInterrupt):
                self.show(self._session.plan(applied.repair))
        self.status = {"kind": "done", "text": str(applied), "hint": ""}
        return applied

    def _show_progress(self, text: str) -> None:
        if self.working:
            self.working = {**self.working, "text": text}

    def _draw(self, draft: Draft, *, ticks_only: bool = False) -> None:
        """Draw a draft; ``ticks_only`` if its policies are drawn already."""
        self._draft = draft
        drawn = {} if ticks_only else self._matrix(draft)
        with self.hold_sync():
            for name, value in {**drawn, **self._ticks(draft)}.items():
                setattr(self, name, value)

    def _matrix(self, draft: Draft) -> dict[str, Any]:
        """Return the traits that show the policies that were read."""
        known, refused = draft.directory, self._reader.refused
        added = [known.key(one) for one in (*self._added, *(identity for _, identity, _ in draft.ticks))]
        listed = matrix.identities(draft.read, added, known)
        readable = self._overview or draft.scope in draft.read.policies
        self._cells = matrix.EffectiveCells(draft.read) if self._overview else matrix.ScopeCells(draft.scope)
        return {
            "scope": self.place,
            "refusal": str(refused[draft.scope]) if draft.scope in refused and not self._overview else "",
            "columns": [matrix.column(usage) for usage in draft.usages],
            "identities": listed,
            "client_ids": {key: one.client_id for key, one in known.identities.items() if one.client_id},
            "cells": matrix.rows(self._cells, draft, listed) if readable else [],
            "more": self._reader.asks_assigned or bool(self._reader.next(draft)),
        }

    def _ticks(self, draft: Draft) -> dict[str, Any]:
        """Return the traits that show the ticks; they are small, so that the message for a tick is short."""
        return {
            "edited": {} if self._overview else matrix.edited(self._cells, draft),
            "legend": self._cells.legend,
            "summary": draft.summary,
            "scope_states": matrix.scope_states(self._reader.scopes, draft, self._reader.refused),
        }
