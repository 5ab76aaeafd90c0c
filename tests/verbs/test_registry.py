"""Tests that any face can run a verb, and that a verb returns a value and prints nothing."""

import re
from collections.abc import Iterator

import pytest

import kqlmi
from kqlmi.cli import SHELL
from kqlmi.errors import CellError
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.plan.plan import Plan
from kqlmi.notebook.face import NOTEBOOK
from kqlmi.report import Rows
from kqlmi.session import Applied, Session
from kqlmi.verbs import VERBS, Context, Face, Sessions
from kqlmi.verbs.arguments import split
from kqlmi.verbs.plans import Offer


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with kqlmi.local.start() as started:
        yield started


class Bare:
    """A face that shows a value by returning it."""

    def __init__(self, session: Session) -> None:
        self.face = Face("notebook", "> ", lambda context: context)
        self.sessions = Sessions({session.name: session}, session.name)
        self.notes: list[str] = []
        self.asked: list[str] = []

    def permit(self, _session: Session, plan: Plan) -> None:
        self.asked.append(plan.id)

    def __call__(self, line: str) -> object:
        context = Context(
            self.face, self.sessions, note=self.notes.append, show=lambda value: value, permit=self.permit
        )
        return self.face.run(split(line), context)


@pytest.fixture
def bare(cluster: LocalCluster, capsys: pytest.CaptureFixture[str]) -> Iterator[Bare]:
    with kqlmi.connect(cluster.url, token=cluster.token, name="test", database="Samples") as session:
        yield Bare(session)
        printed = capsys.readouterr()
        assert (printed.out, printed.err) == ("", "")


def test_a_plan_is_returned_as_an_offer_that_is_neither_registered_nor_sent(bare: Bare) -> None:
    offer = bare("grant mi-adx-export AzureAI --database Sam*")
    assert isinstance(offer, Offer)
    assert offer.plan.summary == "1 to grant, 0 to revoke, 3 unchanged"
    session = bare.sessions.get()
    assert session.plans == {}
    policy = session.policy(kqlmi.Scope.database("Samples"))
    assert policy
    assert "AzureAI" not in policy.to_json()


def test_apply_asks_for_confirmation_before_it_sends(bare: Bare) -> None:
    offer = bare("grant mi-adx-export SqlRequest --database Samples")
    assert isinstance(offer, Offer)
    session = bare.sessions.get()
    session.plans[offer.plan.id] = offer.plan
    done = bare(f"apply {offer.plan.short}")
    assert isinstance(done, Applied)
    assert bare.asked == [offer.plan.id]
    assert session.plans == {}
    assert isinstance(bare("undo"), Offer)


def test_lists_are_returned_as_rows(bare: Bare) -> None:
    for line in ("show", "access mi-adx-export", "access --matrix", "usages", "workflows export", "new", "connections"):
        found = bare(line)
        assert isinstance(found, Rows), line
        assert found.rows, line
    for line in ("history", "identities", "audit"):
        assert isinstance(getattr(bare(line), "rows", None), Rows), line


def test_a_verb_of_another_face_is_not_there(bare: Bare) -> None:
    with pytest.raises(CellError, match="is not a known subcommand"):
        bare("local serve")
    assert "local serve" not in NOTEBOOK.verbs


def test_the_command_line_has_the_verbs_that_are_meant_for_it() -> None:
    assert list(SHELL.verbs) == ["export", "plan", "apply", "check", "audit", "map", "local serve"]
    assert {*SHELL.verbs} | {*NOTEBOOK.verbs} == {*VERBS}


@pytest.mark.parametrize("face", [NOTEBOOK, SHELL], ids=["notebook", "shell"])
def test_no_option_that_a_face_adds_hides_one_of_the_verb(face: Face) -> None:
    for verb in face.verbs.values():
        options = [p.name for p in face.syntax(verb).parameters if p.kind is p.KEYWORD_ONLY]
        assert len(options) == len({*options}), verb.name
        assert {p.name for p in verb.parameters} <= {p.name for p in face.syntax(verb).parameters}
        assert "cluster" not in {p.name for p in face.syntax(verb).parameters} or verb.name in {
            "connect", "show", "grant", "revoke",
        }  # fmt: skip
        assert face.help(verb.name.split()).startswith(f"{face.prompt}{verb.name}")


@pytest.mark.parametrize("face", [NOTEBOOK, SHELL], ids=["notebook", "shell"])
def test_the_help_lists_each_verb_once_under_its_task(face: Face) -> None:
    text = face.help([])
    for name, verb in face.verbs.items():
        [part] = [one for one in text.split("\n\n") if re.search(rf"^  {face.prompt}{name}  ", one, re.MULTILINE)]
        assert part.startswith(f"{verb.task}:\n")
