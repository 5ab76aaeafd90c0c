"""The panel: a widget over a draft, in which identities are ticked for workflows."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from kqlmi.errors import ApplyError, InputError, KqlmiError, printable
from kqlmi.model.access import covered_by
from kqlmi.model.draft import Draft
from kqlmi.model.entities import ALL, Scope, object_id
from kqlmi.model.plan import Plan
from kqlmi.model.policy import Snapshot
from kqlmi.notebook import display
from kqlmi.session import Applied, Session

_HERE = Path(__file__).parent
# Up to so many databases are read when the panel opens, so that it knows the identities of all of them.
_FEW = 20


class Panel(anywidget.AnyWidget):
    """Ticks over the policies of a cluster, with preview, execution and verification.

    ``draft`` holds the ticks; set it, or let ``tick`` and ``untick`` do so, and the view follows. ``plan`` is what
    Execute would carry out, and ``apply`` carries it out.
    """

    _esm = _HERE / "panel.js"
    _css = _HERE / "panel.css"

    # The browser writes `request` alone: {"id", "action", …}. All else is written here, and is the whole truth.
    request = traitlets.Dict().tag(sync=True)
    acknowledged = traitlets.Int(0).tag(sync=True)
    view = traitlets.Dict().tag(sync=True)
    preview = traitlets.Any(None).tag(sync=True)
    question = traitlets.Any(None).tag(sync=True)
    status = traitlets.Dict().tag(sync=True)

    def __init__(self, session: Session, scope: Scope) -> None:
        """Read the cluster's policy and that of ``scope``, and show the latter."""
        super().__init__()
        self._session, self._scopes = session, (Scope.cluster(), *map(Scope.database, session.databases()))
        if scope not in self._scopes:
            scope = session.database_scope(str(scope.name))
        self._added: tuple[str, ...] = ()
        self._shown: Plan | None = None
        self.draft = self._read(scope)
        self.observe(self._on_request, names="request")

    @property
    def draft(self) -> Draft:
        """Give the ticks as they are."""
        return self._draft

    @draft.setter
    def draft(self, draft: Draft) -> None:
        self._draft = draft
        # A preview that no longer is what the ticks say must not stay executable.
        self._shown, self.preview, self.question, self.status = None, None, None, {}
        self._show()

    @property
    def plan(self) -> Plan:
        """Give the plan that leads from the policies that were read to the ticks."""
        return self._draft.plan(self._session.name)

    def tick(self, identity: str, *, usage: str = "", workflow: str = "") -> None:
        """Tick a usage, or the usage of a workflow, for an identity."""
        self.draft = self.draft.tick(identity, usage=usage, workflow=workflow)

    def untick(self, identity: str, *, usage: str = "", workflow: str = "") -> None:
        """Take a tick away; InputError if the usage would stay allowed through ``All``."""
        self.draft = self.draft.untick(identity, usage=usage, workflow=workflow)

    def apply(self) -> Applied:
        """Carry out ``plan``, and read the policies again.

        Raises:
            ApplyError: It did not go through; the error says what landed.
        """
        return self._carry_out(self.plan)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        bundle = super()._repr_mimebundle_(**options)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle or {}, {})
        texts = {
            "text/plain": display.draft_text(self._draft, self._session.name),
            "text/html": display.draft_html(self._draft, self._session.name),
        }
        return {**data, **texts}, metadata

    def _read(self, scope: Scope, keep: Draft | None = None) -> Draft:
        """Read the policies that a view of ``scope`` needs; those of other scopes may be withheld from the caller."""
        known = keep.read.policies if keep else {}
        wanted = self._scopes if len(self._scopes) <= _FEW else (Scope.cluster(), scope)
        reading = self._session.read(scope for scope in wanted if scope not in known)
        if scope in reading.refused:
            raise reading.refused[scope]
        return keep.reading(reading.snapshot).at(scope) if keep else Draft.start(reading.snapshot, scope)

    def _carry_out(self, plan: Plan) -> Applied:
        try:
            applied = self._session.apply(plan)
        except ApplyError as error:
            if error.outcome != "not applied":
                # That it could not be read again must not hide what happened to the plan.
                with suppress(KqlmiError):
                    self._reread()
            raise
        policies = {result.step.scope: result.policy for result in applied.steps}
        self.draft = Draft.start(Snapshot({**self._draft.read.policies, **policies}), self._draft.scope)
        return applied

    def _reread(self) -> None:
        reading = self._session.read(self._draft.read.policies)
        if self._draft.scope in reading.refused:
            raise reading.refused[self._draft.scope]
        self.draft = Draft.start(reading.snapshot, self._draft.scope)

    def _show(self) -> None:
        draft = self._draft
        self.view = {
            "cluster": printable(self._session.name),
            "read_only": self._session.read_only,
            "scope": self._scopes.index(draft.scope),
            "scopes": [str(scope) for scope in self._scopes],
            "unread": [] if Scope.cluster() in draft.read.policies else [str(Scope.cluster())],
            "columns": display.columns(draft),
            "rows": display.rows(draft, self._added),
            "summary": self.plan.summary if self.plan.steps else "",
        }

    def _on_request(self, change: dict[str, Any]) -> None:
        """Carry out what the browser asks; an error here belongs to no cell, so the panel shows it."""
        request = change["new"]
        try:
            self._perform(request)
        except KqlmiError as error:
            self._show()
            self.status = {"kind": "error", "text": printable(error.message), "hint": printable(error.hint)}
        except Exception as error:  # noqa: BLE001 - nothing above this would show it
            self._show()
            self.status = {
                "kind": "error",
                "text": f"{type(error).__name__}: {error}",
                "hint": "This is a bug in kqlmi.",
            }
        finally:
            self.acknowledged = int(request.get("id", 0))

    def _perform(self, request: dict[str, Any]) -> None:
        actions = {
            "toggle": self._toggle,
            "replace_all": self._replace_all,
            "remove": self._remove,
            "dismiss": self._dismiss,
            "scope": self._choose_scope,
            "add": self._add,
            "preview": self._preview,
            "discard": self._discard,
            "execute": self._execute,
        }
        actions[request["action"]](request)

    def _cell(self, request: dict[str, Any]) -> tuple[str, str]:
        """Give the identity and usage of a request, which names the usage as it was shown."""
        shown = {printable(usage): usage for usage in self._draft.usages}
        return object_id(str(request["identity"])), shown[str(request["usage"])]

    def _toggle(self, request: dict[str, Any]) -> None:
        identity, usage = self._cell(request)
        cell = self._draft.cell(identity, usage)
        if not cell.granted and not cell.covered_by:
            self.tick(identity, usage=usage)
            self.status = {"kind": "note", "text": display.tick_text(self._draft, identity, usage), "hint": ""}
        elif not cell.covered_by:
            self.untick(identity, usage=usage)
        else:
            self._ask(identity, usage)

    def _ask(self, identity: str, usage: str) -> None:
        """Ask before a tick is taken away that would change nothing, and offer what would change something."""
        draft = self._draft
        here = (draft.scope, ALL) in covered_by(draft.wanted, draft.scope, identity, usage)
        offers = []
        if here:
            kept = len(draft.kept_usages(usage))
            offers.append(["replace_all", f"Replace All by the {kept} known usages you keep (future usages end)"])
        elif draft.cell(identity, usage).granted:
            offers.append(["remove", "Remove the redundant grant (it stays allowed)"])
        text = display.cover_text(draft, identity, usage)
        if not here:
            text += " Choose the scope cluster to revoke it there."
        self.question = {"text": text, "identity": identity, "usage": printable(usage), "offers": offers}

    def _replace_all(self, request: dict[str, Any]) -> None:
        identity, usage = self._cell(request)
        self.draft = self._draft.replace_all(identity, without=usage)

    def _remove(self, request: dict[str, Any]) -> None:
        identity, usage = self._cell(request)
        self.untick(identity, usage=usage)

    def _dismiss(self, _request: dict[str, Any]) -> None:
        self.question = None

    def _choose_scope(self, request: dict[str, Any]) -> None:
        self.draft = self._read(self._scopes[int(request["scope"])], keep=self._draft)

    def _add(self, request: dict[str, Any]) -> None:
        identity = self._draft.holder(str(request["identity"]))
        if identity not in (*self._added, *self._draft.read.identities):
            self._added = (*self._added, identity)
        self._show()
        self.status = {"kind": "note", "text": f"{identity} has a row now.", "hint": "Tick what it may be used for."}

    def _preview(self, _request: dict[str, Any]) -> None:
        self._shown = self.plan
        stops = self._session.impact(self._shown).lines if self._shown.revokes else ()
        self.preview = display.plan(self._shown, self._draft) | {"impact": list(stops)}

    def _discard(self, _request: dict[str, Any]) -> None:
        self._reread()
        self.status = {"kind": "note", "text": "The ticks were discarded, and the policies read again.", "hint": ""}

    def _execute(self, request: dict[str, Any]) -> None:
        plan = self._shown
        if plan is None or plan.id != request["plan"]:
            raise InputError("This preview is out of date.", hint="Preview the change again.")
        if plan.revokes and not request.get("confirmed"):
            raise InputError("The change takes something away.", hint="Confirm it to go on.")
        self.status = {"kind": "busy", "text": "Executing…", "hint": ""}
        applied = self._carry_out(plan)
        self.status = {"kind": "done", "text": str(applied), "hint": ""}
