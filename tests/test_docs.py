"""Tests that the documentation is complete and correct: generated pages, and the output of each example."""

import atexit
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import kqlmi
from kqlmi.cli import SHELL
from kqlmi.local.cluster import LocalCluster
from kqlmi.model.audit.rules import RULES
from kqlmi.model.templates import FORMS
from kqlmi.model.usages import USAGES
from kqlmi.model.workflows import WORKFLOWS, Workflow
from kqlmi.notebook.face import NOTEBOOK
from kqlmi.verbs import VERBS, Face
from tests.documents import DOCS, DOCUMENTS, PAGES, README, ROOT, RUN, Example, examples, load, run_python

generated = load(DOCS / "generated.py")
EXPANDED = {name: generated.expanded(text) for name, text in PAGES.items()}


def test_every_generated_part_is_on_one_page() -> None:
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


def test_text_to_type_is_shown_as_code() -> None:
    assert generated.escaped("Type %kqlmi grant, or `x` <y>.") == r"Type `%kqlmi grant`, or \`x\` \<y\>."
    assert generated.escaped("--name NAME says ``it``") == "`--name NAME` says `it`"


def test_a_guide_is_short() -> None:
    assert [name for name, text in PAGES.items() if name.startswith("how-to/") and text.count("\n") > 80] == []


def test_the_readme_is_read_in_minutes_and_its_links_lead_to_files() -> None:
    text = DOCUMENTS[README]
    assert text.count("\n") <= 150
    links = re.findall(r"\]\(([^)]+)\)|srcset=\"([^\"]+)\"|src=\"([^\"]+)\"", text)
    assert [link for found in links for link in found if link and not (ROOT / link).exists()] == []


def test_each_claim_of_the_security_model_names_a_test() -> None:
    page = PAGES["explanation/security.md"]
    rows = [line for line in page.splitlines() if line.startswith("| ") and line != "| claim | test |"]
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert named, row
        for path, test in named:
            assert f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), row
    assert len(rows) > 10


def test_external_links_are_in_one_list() -> None:
    link = re.compile(r"\]\(\w+:|<https?:|^\[[^\]]+\]: \w+:", re.MULTILINE)
    assert [name for name, text in PAGES.items() if link.search(text)] == ["external-links.md"]


NOT_RUN = {"text"}
OUT = re.compile(r"^Out\[\d+\]: ?\n?", re.MULTILINE)
REQUEST = re.compile(r"\[kqlmi;[0-9a-f-]{36}\]")
REAL = "mycluster.westeurope"
SIGN_IN = re.compile(r" --(?:auth|tenant|sign-in-identity|resource-id)[ =]\S+")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCluster]:
    """A cluster that the configuration file names prod."""
    monkeypatch.chdir(tmp_path)
    with kqlmi.local.start() as started:
        config = tmp_path / "config.toml"
        config.write_text(f'[connections.prod]\ncluster = "{started.url}"\nauth = "token"\n', encoding="utf-8")
        monkeypatch.setenv("KQLMI_CONFIG", str(config))
        monkeypatch.setenv("KQLMI_TOKEN", started.token)
        yield started


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    one = InteractiveShell(config=Config(HistoryManager={"enabled": False}))
    yield one
    if "KqlMagics" in one.magics_manager.registry:
        one.run_line_magic("unload_ext", "kqlmi")
    atexit.unregister(one.atexit_operations)


def output_of(
    example: Example, cluster: LocalCluster, shell: InteractiveShell, folder: Path, capsys: pytest.CaptureFixture[str]
) -> str:
    """Run an example, and return its output, with the names that the documentation uses."""
    host = urlsplit(cluster.url).netloc
    text = example.text
    if REAL in text and example.language != "toml":
        text = re.sub(
            rf"(https://)?{REAL}(\.kusto\.windows\.net)?",
            cluster.url,
            SIGN_IN.sub("", text).replace(REAL, f"{REAL} --auth token"),
        )
    if example.language == "python":
        return run_python(text, folder)
    capsys.readouterr()
    if example.language == "ipython":
        result = shell.run_cell(text, silent=False)
        captured = capsys.readouterr().out
        assert result.success != example.fails, captured
    else:
        RUN[example.language](text)
        captured = "".join(capsys.readouterr())
    return REQUEST.sub("[kqlmi;…]", OUT.sub("", captured)).replace(host, f"{REAL}.kusto.windows.net")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, text in DOCUMENTS.items() if any(examples(text))])
def test_the_output_of_each_example_is_current(
    name: str, cluster: LocalCluster, shell: InteractiveShell, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong: list[tuple[Example, str]] = []
    for example in examples(DOCUMENTS[name]):
        if example.language not in NOT_RUN:
            output = output_of(example, cluster, shell, tmp_path, capsys)
            wrong += [] if example.shows(output) else [(example, output)]
    if os.environ.get("UPDATE_DOCS"):
        text = DOCUMENTS[name]
        for example, output in reversed(wrong):
            text = example.with_output(text, output)
        (DOCS / name).write_text(text, encoding="utf-8")
    shown = "\n".join(f"{example.text}now shows:\n{output}" for example, output in wrong)
    assert not wrong, f"UPDATE_DOCS=1 updates the outputs.\n{shown}"


INLINE = re.compile(r"(?<!`)`(%kqlmi|kqlmi)((?: [^`]*)?)`(?!`)")
TYPED = [(name, *found) for name, text in DOCUMENTS.items() for found in INLINE.findall(text)]


@pytest.mark.parametrize(("name", "prompt", "line"), TYPED)
def test_each_line_in_the_text_can_be_typed(name: str, prompt: str, line: str) -> None:
    face = NOTEBOOK if prompt.startswith("%") else SHELL
    words = shlex.split(line.replace("…", ""))
    assert is_line(face, words), f"{name}: {prompt}{line}"


def is_line(face: Face, words: list[str]) -> bool:
    """Check whether words form a line of a face: a verb and some of its words and options, whose values may be omitted."""
    if not words or words[0] in {"help", "--version"}:
        return set(words[1:]) <= {*VERBS, "VERB", "FLOW"}
    verb = next((face.verbs[name] for name in (" ".join(words[:2]), words[0]) if name in face.verbs), None)
    return verb is not None and {word for word in words if word.startswith("--")} <= set(face.syntax(verb).options)


def test_a_line_that_cannot_be_typed_is_found() -> None:
    assert is_line(NOTEBOOK, ["grant", "loader", "All", "--database", "Samples"])
    assert not is_line(NOTEBOOK, ["grant", "loader", "All", "--everywhere"])
    assert not is_line(SHELL, ["grant", "loader", "All"])


def test_an_output_is_compared_to_the_letter() -> None:
    example = next(iter(examples("```ipython\n1\n```\n\n```text\nPlan … on prod\n```\n")))
    assert example.shows("Plan 12 on prod \n")
    assert not example.shows("Plan 12 on test")
    assert [one.output for one in examples("```ipython\n1\n```\n\nIt is:\n\n```text\n1\n```\n")] == [None, None]
