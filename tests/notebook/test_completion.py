"""Tests of completion, which depends only on the text before the cursor, the rest of the line, and the known names."""

import shlex
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqlmi.model.entities import Scope
from kqlmi.model.policy.directory import Directory
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.model.statement import Statement
from kqlmi.model.usages import USAGES
from kqlmi.notebook.completion import Known, Names, complete
from kqlmi.notebook.face import NOTEBOOK
from kqlmi.session import MODES
from kqlmi.session.known_names import KnownNames
from kqlmi.verbs.arguments import split

LOADER, EXPORTER, TWIN = (f"{digit * 8}-1111-2222-3333-444444444444" for digit in "abc")
NAMES = Names(
    ("Samples", "Field Reports", "O'Brien"),
    {"system": "the engine", LOADER: "mi-load", EXPORTER: "mi export", TWIN: "Twin", "d" + TWIN[1:]: "twin"},
    ("All", "FutureFlow"),
    {"a1b2c3": "1 to grant, 0 to revoke"},
)
KNOWN = Known(
    {"local": NAMES, "the other": Names(("Elsewhere",), {LOADER: "loader there"}, database="Elsewhere")}, "local"
)
USAGE_NAMES = [usage.name for usage in USAGES]
OPTIONS = ["--on", "--help"]
CONNECT = [
    *(
        "database",
        "auth",
        "tenant",
        "sign-in-identity",
        "audience",
        "name",
        "read-only",
        "no-history",
        "resource-id",
        "ingest-url",
        "fresh",
    ),
]
INGEST = [
    *("--identity", "--database", "--format", "--mapping", "--ignore-first-record", "--wait"),
    *OPTIONS,
]
GRANT = ["--database", "--cluster", *OPTIONS]
CELL = ["check", "--database", "--on", "--raw", "--param", "--help"]
EIGHT = [
    ".show cluster policy managed_identity",
    ".alter cluster policy managed_identity",
    ".alter-merge cluster policy managed_identity",
    ".delete cluster policy managed_identity",
    ".show database ['Elsewhere'] policy managed_identity",
    ".alter database ['Elsewhere'] policy managed_identity",
    ".alter-merge database ['Elsewhere'] policy managed_identity",
    ".delete database ['Elsewhere'] policy managed_identity",
]
BRACKETED = ["['Samples']", "['Field Reports']", r"['O\'Brien']"]
IDS = ["system", LOADER, EXPORTER, TWIN, "d" + TWIN[1:]]
HERE = ".alter-merge database ['Samples'] policy managed_identity "
CLUSTER = ".alter cluster policy managed_identity "
POLICY = '```[{"ObjectId": "system", "AllowedUsages": "'


def offered(text: str, known: Known = KNOWN) -> tuple[str, list[str]]:
    """Return the fragment and the candidates at the mark ``‸`` in ``text``, or at its end."""
    before, _, after = text.partition("‸")
    offers = complete(before, after, known)
    assert before.endswith(offers.fragment)
    return offers.fragment, [one.text for one in offers.candidates]


LINES = [
    ("%kqlmi ", "", [*NOTEBOOK.verbs, "--help"]),
    ("%kqlmi sh", "sh", ["show"]),
    ("   %kqlmi SH", "SH", ["show"]),
    ("found = %kqlmi acc", "acc", ["access"]),
    ("1 + 1\n%kqlmi hist", "hist", ["history"]),
    ("%%time\n%kqlmi hist", "hist", ["history"]),
    ("%kqlmi --", "--", ["--help"]),
    ("%kqlmi grant ", "", ["system", "mi-load", '"mi export"', TWIN, "d" + TWIN[1:], *GRANT]),
    ("%kqlmi grant mi", "mi", ["mi-load", '"mi export"']),
    ("%kqlmi grant EXP", "EXP", ['"mi export"']),
    ('%kqlmi grant "mi e', '"mi e', ['"mi export"']),
    ("%kqlmi grant 'mi e", "'mi e", ["'mi export'"]),
    ("%kqlmi grant 'mi e‸'", "'mi e", ["'mi export"]),
    ("%kqlmi grant twi", "twi", [TWIN, "d" + TWIN[1:]]),
    ("%kqlmi revoke aaaa", "aaaa", [LOADER]),
    ("%kqlmi revoke sys", "sys", ["system"]),
    ("%kqlmi revoke engine", "engine", ["system"]),
    ("%kqlmi grant mi-load ", "", [*USAGE_NAMES, "FutureFlow", *GRANT]),
    ("%kqlmi grant 'mi export' Sq", "Sq", ["SqlRequest"]),
    ("%kqlmi grant mi-load SqlRequest S", "S", ["SandboxArtifacts"]),
    ("%kqlmi grant mi-load sqlrequest,S", "S", ["SandboxArtifacts"]),
    ("%kqlmi grant mi-load Fut", "Fut", ["FutureFlow"]),
    ("%kqlmi grant mi-load \\\n  Azu", "Azu", ["AzureAI"]),
    ("%kqlmi access mi-load AZ", "AZ", ["AzureAI"]),
    ("%kqlmi access mi-load AzureAI ", "", ["--database", "--matrix", *OPTIONS]),
    ("%kqlmi replace mi-load --with tw", "tw", [TWIN, "d" + TWIN[1:]]),
    ("%kqlmi grant mi-load All --d", "--d", ["--database"]),
    ("%kqlmi grant mi-load All --database ", "", ["Samples", '"Field Reports"', '"O\'Brien"']),
    ("%kqlmi grant mi-load All --database fi", "fi", ['"Field Reports"']),
    ("%kqlmi grant mi-load All --database=Sa", "Sa", ["Samples"]),
    ("%kqlmi grant mi-load All --database Samples --d", "--d", ["--database"]),
    ("%kqlmi grant mi-load All --cluster --c", "--c", []),
    ("%kqlmi show --on ", "", ["local", '"the other"']),
    ("%kqlmi show --on 'the other' --database ", "", ["Elsewhere"]),
    ("%kqlmi grant --on 'the other' load", "load", ['"loader there"']),
    ("%kqlmi show --on nowhere --database ", "", []),
    ("%kqlmi connect ", "", ["local", *(f"--{name}" for name in CONNECT), "--help"]),
    ("%kqlmi connect https://c.kusto.windows.net --auth ", "", [*MODES]),
    ("%kqlmi connect https://c.kusto.windows.net --auth=dev", "dev", ["device-code"]),
    ("%kqlmi apply ", "", ["a1b2c3", "--confirm", "--no-history", "--revoke", *OPTIONS]),
    ("%kqlmi apply a1", "a1", ["a1b2c3"]),
    ("%kqlmi apply a1b2c3 --rev", "--rev", ["--revoke"]),
    ("%kqlmi plan a1b2c3 --format m", "m", ["markdown"]),
    ("%kqlmi ingest https://acct.blob.core.windows.net/data/a.csv ", "", ["into", *INGEST]),
    ("%kqlmi ingest https://acct.blob.core.windows.net/data/a.csv into T --identity mi-", "mi-", ["mi-load"]),
    ("%kqlmi ingest https://acct.blob.core.windows.net/data/a.csv into T --format pa", "pa", ["parquet"]),
    ("%kqlmi new export.to_storage --format ", "", ["csv", "tsv", "json", "parquet"]),
    ("%kqlmi new externaldata --format o", "o", ["orc"]),
    ("%kqlmi eventhub name --format r", "r", []),
    ("%kqlmi help wh", "wh", ["whoami"]),
    ("%kqlmi help wx", "wx", []),
    ("%kqlmi help wo", "wo", ["workflows"]),
    ("%kqlmi export pol", "pol", []),
    ("%kqlmi nonsense ", "", []),
]
FIRST_LINES = [
    ("%%kqlmi ", "", CELL),
    ("\n %%kqlmi --r", "--r", ["--raw"]),
    ("%%kqlmi found << ", "", CELL),
    ("%%kqlmi found << --raw --r", "--r", []),
    ("%%kqlmi check ", "", CELL[1:]),
    ("%%kqlmi ch", "ch", ["check"]),
    ("%%kqlmi --database S", "S", ["Samples"]),
    ("%%kqlmi --on the", "the", ['"the other"']),
    ("%%kqlmi --on 'the other' --database ", "", ["Elsewhere"]),
    ("%%kqlmi .show", ".show", []),
]
BODIES = [
    (".del", ".del", [".delete cluster policy managed_identity", ".delete database"]),
    ("  .show  cluster  pol", "pol", ["policy managed_identity", "policy callout"]),
    ("// the policy\n.show journal", "journal", ["journal"]),
    (".show jou", "jou", ["journal"]),
    (".show cluster policy managed_identity", "managed_identity", ["managed_identity"]),
    (".show cluster policy managed_identity ", "", []),
    (".alter-m", ".alter-m", [".alter-merge cluster policy managed_identity", ".alter-merge database"]),
    (".alter-merge data", "data", ["database"]),
    (".show database ", "", BRACKETED),
    (".show database fie", "fie", ["['Field Reports']"]),
    (".show database [", "[", BRACKETED),
    (".show database ['Field R", "['Field R", ["['Field Reports']"]),
    (".show database ['Field R‸']", "['Field R", ["['Field Reports"]),
    ('.show database ["S', '["S', ["['Samples']"]),
    (".show database [ 'S", "[ 'S", ["['Samples']"]),
    (r".show database ['O\'B", r"['O\'B", [r"['O\'Brien']"]),
    (".show database 'Sam", "'Sam", ["['Samples']"]),
    (".delete database ['Samples'] ", "", ["policy managed_identity"]),
    (".show database Samples pri", "pri", ["principals"]),
    (HERE, "", ['```[{"ObjectId": "']),
    (CLUSTER, "", ['```[{"ObjectId": "']),
    (f"{HERE}```", "", []),
    (f"{HERE}```[", "", []),
    (f"{HERE}```[{{", "", ['"ObjectId"', '"AllowedUsages"']),
    (f"{HERE}```[\n  {{\n    ", "", ['"ObjectId"', '"AllowedUsages"']),
    (f"{HERE}'[{{\"obj", "obj", ["ObjectId"]),
    (f'{HERE}```[{{"obj‸"', "obj", ["ObjectId"]),
    (f"{HERE}```[{{obj", "obj", ['"ObjectId"']),
    (f'{HERE}```[{{"ObjectId" ', "", []),
    (f'{HERE}```[{{"ObjectId": ', "", [f'"{one}"' for one in IDS]),
    (f'{HERE}```[{{"ObjectId": "', "", IDS),
    (f'{HERE}```[{{"objectid": "SYS', "SYS", ["system"]),
    (f'{HERE}```[{{"ObjectId": "mi ex', "mi ex", [EXPORTER]),
    (f'{HERE}```[{{"ObjectId": "bbbbbbbb-1', "bbbbbbbb-1", [EXPORTER]),
    (f'{HERE}```[{{"ObjectId": "system", ', "", ['"AllowedUsages"']),
    (f'{HERE}```[{{"ObjectId": "system", "A', "A", ["AllowedUsages"]),
    (HERE + POLICY, "", [*USAGE_NAMES, "FutureFlow"]),
    (HERE + POLICY + "sql", "sql", ["SqlRequest"]),
    (HERE + POLICY + "SqlRequest, S", "S", ["SandboxArtifacts"]),
    (HERE + POLICY + "SqlRequest,S", "S", ["SandboxArtifacts"]),
    (HERE + POLICY + '‸, SqlRequest, AzureAI"}]```', "", [n for n in [*USAGE_NAMES, "FutureFlow"] if n not in {"SqlRequest", "AzureAI"}]),
    (HERE + POLICY + 'All"}, {"ObjectId": "mi-', "mi-", [LOADER]),
    (HERE + POLICY + 'All"}, {', "", ['"ObjectId"', '"AllowedUsages"']),
    (HERE + POLICY + 'All", "Other": "', "", []),
    (HERE + POLICY + 'All", "Other": {"ObjectId": "', "", []),
    (HERE + POLICY + 'All"}]``` ', "", []),
    (HERE + "\"[{'ObjectId': 'sys", "sys", ["system"]),
    (HERE + r'"[{\"ObjectId\": \"sys', "sys", ["system"]),
    (HERE + r'"[{\"ObjectId\": \"system\", ', "", [r"\"AllowedUsages\""]),
    (HERE + '@"[{""ObjectId"": ""system"", ', "", ['""AllowedUsages""']),
    (HERE + """@'[{''ObjectId'': "sys""", "sys", ["system"]),
    (HERE + """h'[{"ObjectId": "sys""", "sys", ["system"]),
    (HERE + """'[{"ObjectId":\n"sys""", "", []),
    (".show cluster policy managed_identity ```[{", "", []),
    (".alter database policy managed_identity ```[{", "", ['"ObjectId"', '"AllowedUsages"']),
    ("externaldata (n: long) [h'https://a/b;managed_identity=", "", IDS),
    ("externaldata (n: long) [h'https://a/b;managed_identity=mi-l", "mi-l", [LOADER]),
    (""".alter table T policy update ```[{"Query": "Q", "ManagedIdentity": "mi-l""", "mi-l", [LOADER]),
    (".export async to csv ('x') with (managedIdentity='sys", "sys", ["system"]),
    ("StormEvents | whe", "whe", []),
    ("print 'managed", "'managed", []),
    ("// .sho", "", []),
    (".show // comm", "", []),
]  # fmt: skip
OTHERS = ["", "x = 1", "%kqlmi", "%kqlmix sh", "%%kqlmi", "%%kqlmix\n.sh", "%%bash\n%kqlmi sh", "%time\n%%kqlmi\n.sh"]
OTHERS += ["# %kqlmi sh", "x == %kqlmi sh", "print('%kqlmi sh", "'''\n%%kqlmi\n.sh", "%%writefile x\n%kqlmi grant "]


@pytest.mark.parametrize(("text", "fragment", "texts"), [*LINES, *FIRST_LINES])
def test_a_line_offers(text: str, fragment: str, texts: list[str]) -> None:
    found = offered(text)
    assert found[1] == texts
    assert not texts or found[0] == fragment


@pytest.mark.parametrize(("text", "fragment", "texts"), BODIES)
def test_a_cell_offers(text: str, fragment: str, texts: list[str]) -> None:
    found = offered(f"%%kqlmi found << --raw\n{text}")
    assert found[1] == texts
    assert not texts or found[0] == fragment


@pytest.mark.parametrize("text", OTHERS)
def test_other_lines_and_cells_get_no_completions(text: str) -> None:
    assert offered(text) == ("", [])


def test_an_empty_cell_offers_the_policy_commands_on_the_database_in_context() -> None:
    for first in ("--on 'the other'", "--database Elsewhere"):
        _, texts = offered(f"%%kqlmi {first}\n")
        assert texts[:8] == EIGHT
        assert ".show databases" in texts


def test_the_description_shows_names_and_scopes() -> None:
    def notes(text: str) -> dict[str, str]:
        return {one.text: one.note for one in complete(text, "", KNOWN).candidates}

    assert notes("%kqlmi grant ")["mi-load"] == LOADER
    assert notes(f'%%kqlmi\n{HERE}```[{{"ObjectId": "')[LOADER] == "mi-load"
    assert "cluster only" in notes(f"%%kqlmi\n{HERE}{POLICY}")["SandboxArtifacts"]
    assert "cluster only" not in notes(f"%%kqlmi\n{CLUSTER}{POLICY}")["SandboxArtifacts"]
    assert notes("%kqlmi apply ")["a1b2c3"].startswith("1 to grant")


def test_only_a_file_argument_allows_other_completions() -> None:
    assert not complete("%kqlmi plan ", "", KNOWN).alone
    assert complete("%kqlmi grant ", "", KNOWN).alone


def test_every_parameter_of_every_subcommand_offers_something_or_is_free_text() -> None:
    free = {"words", "entry", "finding", "uri", "table", "text", "data_connection"}
    for row in NOTEBOOK.verbs.values():
        for place, parameter in enumerate(NOTEBOOK.syntax(row).words):
            before = f"%kqlmi {row.name} {'mi-load ' * place}"
            texts = [one.text for one in complete(before, "", KNOWN).candidates if not one.text.startswith("--")]
            assert texts or parameter.name in free, f"{row.name}: {parameter.name}"


PIECES = [
    "%kqlmi ",
    "%%kqlmi",
    "%%kqlmi\n",
    "\n",
    " ",
    "grant",
    "--database",
    "=",
    "--on",
    "<<",
    ",",
    "mi",
    "‸",
    "\\\n",
]
PIECES += [HERE, CLUSTER, "```", "'", '"', "@", "h'", "\\", "[", "{", "}", "]", ":", "ObjectId", "AllowedUsages", "//"]
PIECES += ["managed_identity=", ".", ".show", "database", "\u00a0", "\u2028", "\x00", "😀", "S"]
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=14).map("".join)
STARTS = st.sampled_from(["", "%kqlmi ", "%%kqlmi ", "%%kqlmi\n", f"%%kqlmi\n{HERE}", f"%%kqlmi\n{HERE}{POLICY}"])


@given(STARTS, TEXTS, TEXTS)
def test_the_fragment_is_a_suffix_of_any_text_and_nothing_is_raised(start: str, before: str, after: str) -> None:
    offers = complete(start + before, after, KNOWN)
    assert (start + before).endswith(offers.fragment)
    assert all(one.text for one in offers.candidates)


@given(st.text(min_size=1, max_size=12))
def test_a_database_that_is_offered_reads_back_as_itself(name: str) -> None:
    known = Known({"local": replace(NAMES, databases=(name,))}, "local")
    _, [text] = offered("%%kqlmi\n.show database ", known)
    command = Statement(f".show database {text} policy managed_identity").policy_command
    assert command
    assert command.scope
    assert command.scope.name == name
    for word in offered("%kqlmi show --database ", known)[1]:
        assert split(word) == [name]


@given(st.text(max_size=12))
def test_an_identity_that_is_offered_is_the_one_that_is_found(name: str) -> None:
    known = Known({"local": Names(identities={LOADER: name})}, "local")
    policy = f'[{{"ObjectId": "{LOADER}", "AllowedUsages": "All", "DisplayName": "x"}}]'
    [entry] = (Policy.parse(policy) or Policy.empty()).identities
    texts = [text for text in offered("%kqlmi grant ", known)[1] if text not in {"system", *GRANT}]
    for text in texts:
        [word] = split(text)
        assert Directory().learning([replace(entry, display_name=name)]).resolve(word).object_id == LOADER
    assert texts


@given(st.sampled_from(["'", '"', "@'", '@"', "```"]))
def test_completing_step_by_step_produces_a_policy(opened: str) -> None:
    text = f"%%kqlmi\n{HERE}{opened}[{{"
    for wanted, behind in [("ObjectId", ": "), (LOADER, ", "), ("AllowedUsages", ": "), ("SqlRequest", "}]")]:
        _, texts = offered(text)
        [chosen] = [one for one in texts if wanted in one]
        text += chosen + behind
    command = Statement(text.partition("\n")[2] + opened.removeprefix("@")).policy_command
    assert command
    policy = Policy.parse(command.payload)
    assert policy
    assert policy.grants == {(LOADER, "SqlRequest")}


def test_a_word_with_both_quotes_is_quoted_as_in_a_shell() -> None:
    name = """it's "it" """
    known = Known({"local": Names((name,))}, "local")
    assert shlex.split(offered("%kqlmi show --database ", known)[1][0]) == [name]


def test_a_session_keeps_the_names_that_it_has_read() -> None:
    first = Policy.parse(f'[{{"ObjectId": "{LOADER}", "AllowedUsages": "Fresh", "DisplayName": "loader"}}]')
    bare = Policy.parse(f'[{{"ObjectId": "{LOADER}", "AllowedUsages": "All"}}]')
    session_names = (
        KnownNames(("D",))
        .with_policies(Snapshot({Scope.cluster(): first}))
        .with_policies(Snapshot({Scope.database("D"): bare}))
    )
    assert (session_names.databases, session_names.directory.names, session_names.usages) == (
        ("D",),
        {LOADER: "loader"},
        ("Fresh", "All"),
    )
