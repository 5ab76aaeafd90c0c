"""The documentation says what is there: generated pages are whole, and every link to elsewhere stands in one list."""

import re

import pytest

from kqlmi.cli import SHELL
from kqlmi.model.audit.rules import RULES
from kqlmi.model.templates import FORMS
from kqlmi.model.usages import USAGES
from kqlmi.model.workflows import WORKFLOWS, Workflow
from kqlmi.notebook.face import NOTEBOOK
from kqlmi.verbs import Face
from tests.documents import DOCS, PAGES, load

generated = load(DOCS / "generated.py")
EXPANDED = {name: generated.expanded(text) for name, text in PAGES.items()}


def test_every_generated_part_stands_on_one_page() -> None:
    found = [name for text in PAGES.values() for name in re.findall(r"^% generated: (.*)$", text, re.MULTILINE)]
    assert sorted(found) == sorted(generated.PAGES)


@pytest.mark.parametrize(("face", "page"), [(NOTEBOOK, "verbs"), (SHELL, "command-line")], ids=["notebook", "shell"])
def test_every_verb_is_explained_with_all_of_its_options(face: Face, page: str) -> None:
    parts = EXPANDED[f"reference/{page}.md"].split("\n## ")
    for name, verb in face.verbs.items():
        [part] = [one for one in parts if one.startswith(f"{name}\n")]
        syntax = face.syntax(verb)
        assert syntax.usage in part
        assert verb.summary.split()[0] in part
        own = (
            set(syntax.options) - {"--help"} - {f"--{p.name.replace('_', '-')}" for p in (*syntax.common, *syntax.more)}
        )
        assert set(re.findall(r"^\| `(--[a-z-]+)` \|", part, re.MULTILINE)) == own


@pytest.mark.parametrize("row", WORKFLOWS, ids=lambda row: row.id)
def test_every_workflow_is_listed_with_its_label_and_its_fields(row: Workflow) -> None:
    part = EXPANDED["reference/workflows.md"].partition(f"## {generated.escaped(row.title)}\n")[2].partition("\n## ")[0]
    assert f"| `{row.usage}`, {row.sure} |" in part
    assert row.example in part
    assert all(f"| `{field.option}` |" in part for field in FORMS[row.id].fields)


def test_every_usage_and_every_rule_has_its_row() -> None:
    assert re.findall(r"^\| `(\w+)` \|", EXPANDED["reference/usages.md"], re.MULTILINE) == [one.name for one in USAGES]
    assert re.findall(r"^\| `([^`]+)` \|", EXPANDED["reference/audit-rules.md"], re.MULTILINE) == list(RULES)


def test_a_key_that_is_not_documented_fails_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generated.reader, "KEYS", (*generated.reader.KEYS, "new-key"))
    with pytest.raises(ValueError, match="new-key"):
        generated.expanded("% generated: policy_file_keys")


def test_what_is_to_be_typed_is_shown_as_code() -> None:
    assert generated.escaped("Type %kqlmi grant, or `x` <y>.") == r"Type `%kqlmi grant`, or \`x\` \<y\>."
    assert generated.escaped("--name NAME says ``it``") == "`--name NAME` says `it`"


def test_links_to_elsewhere_stand_in_one_list() -> None:
    link = re.compile(r"\]\(\w+:|<https?:|^\[[^\]]+\]: \w+:", re.MULTILINE)
    assert [name for name, text in PAGES.items() if link.search(text)] == ["external-links.md"]
