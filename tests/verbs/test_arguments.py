"""Tests of hostile lines: a notebook and a shell interpret each alike, or refuse it with the same message."""

import inspect
import re
import shlex
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from uuid import UUID

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kqlmi import cli
from kqlmi.errors import CellError
from kqlmi.notebook import face
from kqlmi.notebook.settings import KqlMI
from kqlmi.verbs import VERBS, Context, Sessions
from kqlmi.verbs.arguments import Syntax, split
from kqlmi.verbs.parameters import DatabaseNames, IdentityText, UsageName
from kqlmi.verbs.plans import PlanFormat
from kqlmi.verbs.registry import Verb

SAS = "https://acct.blob.core.windows.net/data?sv=2024&sig=PLANTED%2Fabcdefghijklmnop%3D"
SECRETS = [
    SAS,
    "Server=tcp:s.example.com;Password=PLANTED-hunter2",
    "PLANTED-hunter2",
    "eyJhbGciOiJIUzI1NiJ9.PLANTED.c2lnbmF0dXJl",
    "пароль-PLANTED",
]
LONG = "x" * 100_000
WORDS = inspect.Parameter("words", inspect.Parameter.VAR_POSITIONAL)
FLAG = inspect.Parameter("revoke", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=bool)


def probe(
    _context: Context,
    identity: IdentityText,
    /,
    *usages: UsageName,
    database: DatabaseNames = (),
    cluster: bool = False,
    format: PlanFormat = "text",  # noqa: A002 - the option's name
    wait: int = 600,
    name: str = "",
) -> str:
    """Probe 100 % of %kqlmi, %s and %(prog)s."""
    return repr((identity, usages, database, cluster, format, wait, name))


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VERBS, "probe", Verb(probe, ("notebook", "shell"), apart=True))
    monkeypatch.delenv("KQLMI_CLUSTER", raising=False)


Both = Callable[[str], tuple[str, str]]


@pytest.fixture
def both(capsys: pytest.CaptureFixture[str]) -> Both:
    """A function that runs a line on both faces and returns the output or error of each, with equal prompts."""

    def run(line: str) -> tuple[str, str]:
        capsys.readouterr()
        try:
            face.run(Sessions(), line, KqlMI())
            there = capsys.readouterr().out
        except CellError as error:
            there = f"kqlmi: {error}\n"
        status = cli.main(split(line))
        here = capsys.readouterr()
        assert status == (1 if here.err else 0)
        return there.replace("%kqlmi", "kqlmi"), (here.out + here.err).replace("%kqlmi", "kqlmi")

    return run


def taken(
    identity: str,
    *usages: str,
    database: tuple[str, ...] = (),
    cluster: bool = False,
    form: str = "text",
    wait: int = 600,
    name: str = "",
) -> str:
    return f"{(identity, usages, database, cluster, form, wait, name)!r}\n"


TAKEN = [
    ("probe loader ExternalTable AzureAI", taken("loader", "ExternalTable", "AzureAI")),
    ("probe --cluster loader All", taken("loader", "All", cluster=True)),
    ("probe loader --cluster All --wait 0", taken("loader", "All", cluster=True, wait=0)),
    (
        "probe --name n loader --database Tele* All --database 'Field Reports' AzureAI",
        taken("loader", "All", "AzureAI", database=("Tele*", "Field Reports"), name="n"),
    ),
    (
        "probe a? [b] '{c}' $d `e` ~ ! ; | & > <",
        taken(*["a?", "[b]", "{c}", "$d", "`e`", "~", "!", ";", "|", "&", ">", "<"]),
    ),
    ("""probe "it's" 'say "hi"' a'b c'd""", taken("it's", 'say "hi"', "ab cd")),
    (r"probe C:\data\new --name C:\x", taken(r"C:\data\new", name=r"C:\x")),
    ("probe a '#b' --name=#c", taken("a", "#b", name="#c")),
    ("probe a b#c # a note: don't read --this", taken("a", "b#c")),
    ("probe a --name n;", taken("a", name="n")),
    ("probe a --name n ; # a note", taken("a", name="n")),
    ("probe a 'b;'", taken("a", "b;")),
    ("probe --name=a=b=c d=e", taken("d=e", name="a=b=c")),
    ("probe a --name=-x --database=--cluster", taken("a", name="-x", database=("--cluster",))),
    ("probe a --name ' -x' '- y'", taken("a", "- y", name=" -x")),
    ("probe -5 -", taken("-5", "-")),
    ("probe --cluster -- -x --cluster --help", taken("-x", "--cluster", "--help", cluster=True)),
    ("probe a --cluster --cluster --name x --name y", taken("a", cluster=True, name="y")),
    ("probe a --format MARKDOWN", taken("a", form="markdown")),
    ("probe '' ''", taken("", "")),
    ("probe %s %(prog)s 100%", taken("%s", "%(prog)s", "100%")),
    ("probe größe --database 数据库 --name 😀", taken("größe", database=("数据库",), name="😀")),
    ("probe \u202egnissim a\u0000b\tc", taken("\u202egnissim", "a\u0000b", "c")),
    (f"probe {LONG} --name {LONG}", taken(LONG, name=LONG)),
    ("probe probe probe", taken("probe", "probe")),
]


@pytest.mark.parametrize(("line", "value"), TAKEN, ids=[line[:40] for line, _ in TAKEN])
def test_both_faces_interpret_a_line_alike(both: Both, line: str, value: str) -> None:
    assert both(line) == (value, value)


REFUSED = [
    ("probe", "probe needs IDENTITY. Usage: kqlmi probe IDENTITY [USAGES…]"),
    ("probe --cluster", "probe needs IDENTITY."),
    ("prob loader", "Unknown subcommand 'prob'. Did you mean probe?"),
    ("PROBE loader", "Unknown subcommand 'PROBE'. Did you mean probe?"),
    ("hunter2 loader", "Argument 1 is not a known subcommand. Known: "),
    ("--cluster", "Argument 1 is not a known subcommand."),
    ("'' loader", "Argument 1 is not a known subcommand."),
    (f"{LONG} loader", "Argument 1 is not a known subcommand."),
    (".show databases", "A line cannot run a command."),
    ("StormEvents | take 5", "A line cannot run a query. Put it in a cell, below a first line %kqlmi."),
    ("StormEvents|take 5", "A line cannot run a query."),
    ("print 1", "A line cannot run a query."),
    ("let PLANTED = 1; T", "A line cannot run a query."),
    ("probe a --databas X", "Unknown option --databas. Did you mean --database?"),
    ("probe a --data X", "Unknown option --data. Did you mean --database?"),
    ("probe a --cl", "Unknown option --cl. Did you mean --cluster?"),
    ("probe a -cluster", "Unknown option -cluster. Did you mean --cluster?"),
    ("probe a --databse=PLANTED", "Unknown option --databse. Did you mean --database?"),
    ("probe a --DATABASE X", "Unknown option --DATABASE. Did you mean --database?"),
    ("probe a b --größe", "Argument 4 is not a known option of probe. Known: --database, --cluster, --format"),
    ("probe --hunter2 a", "Argument 2 is not a known option of probe."),
    ("probe a --wait 5 -q b -q", "Argument 5 is not a known option of probe."),
    (f"probe a --{LONG}", "Argument 3 is not a known option of probe."),
    ("probe a --database", "--database needs a value."),
    ("probe a --database --cluster", "--database needs a value."),
    ("probe a --database -x", "--database needs a value. Write a value that begins with a dash as --database=VALUE."),
    ("probe a --database=", "--database needs a value."),
    ("probe a --name ''", "--name needs a value."),
    ("probe a --name --", "--name needs a value."),
    ("probe a --cluster=yes", "--cluster does not take a value."),
    ("probe a --cluster=", "--cluster does not take a value."),
    ("probe a --format markdwn", "--format does not accept 'markdwn'. Did you mean markdown?"),
    ("probe a --format hunter2", "--format does not accept this value. Known: text, json, markdown, kql."),
    ("probe a --wait soon", "The value of --wait is not a whole number."),
    ("probe a --wait=-1", "The value of --wait is not a whole number."),
    ("probe a --wait ٣", "The value of --wait is not a whole number."),
    ("plan", "plan needs FILE."),
    ("plan policy.yaml hunter2", "plan does not take argument 3. Usage: kqlmi plan FILE"),
    ("plan --format kql policy.yaml policy.yaml", "plan does not take argument 5."),
    ("plan text --format text text", "plan does not take argument 5."),
    ("apply x --no-history y", "apply does not take argument 4."),
    ("audit a b --policy-file c", "audit does not take argument 3."),
    ("plan nowhere.yaml --forma", "Unknown option --forma."),
]


@pytest.mark.parametrize(("line", "sentence"), REFUSED, ids=[line[:40] for line, _ in REFUSED])
def test_both_faces_refuse_a_line_with_the_same_message(both: Both, line: str, sentence: str) -> None:
    for output in both(line):
        assert output.startswith(f"kqlmi: {sentence}")
        assert output.count("\n") == 1


# Places in which a secret may be typed by mistake; if the word there is quoted, as a file name is, the secret is removed.
PLACES = [
    "'{}'",
    "'{}' probe a",
    "help '{}'",
    "probe a --nope '{}'",
    "probe a '--{}'",
    "probe a '-{}'",
    "probe a '--{}=x'",
    "probe a '--databse={}'",
    "probe a '--cluster={}'",
    "probe a --format '{}'",
    "probe a '--format={}'",
    "probe a --wait '{}'",
    "probe a --wait x --name '{}'",
    "plan policy.yaml '{}'",
    "apply policy.yaml --no-history '{}'",
    "audit a '{}' --policy-file x",
    "export policy.yaml '{}'",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("line", PLACES)
def test_neither_face_repeats_a_secret_in_a_wrong_place(both: Both, line: str, secret: str) -> None:
    for output in both(line.format(secret)):
        assert output.startswith("kqlmi: ")
        assert "PLANTED" not in output
        assert "hunter2" not in output


def test_an_unclosed_quote_is_refused_without_what_follows_it() -> None:
    with pytest.raises(CellError) as caught:
        face.run(Sessions(), f"probe a '{SAS}", KqlMI())
    assert str(caught.value) == "A quote on the line is not closed."


@pytest.mark.parametrize("line", ["probe --help", "probe a --help b", "help probe", "probe --hunter2 --help --cluster"])
def test_both_faces_explain_a_verb_wherever_help_is_requested(both: Both, line: str) -> None:
    usage = (
        "kqlmi probe IDENTITY [USAGES…] [--database DATABASE] [--cluster] [--format FORMAT] [--wait WAIT] [--name NAME]"
    )
    for output in both(line):
        assert output.startswith(f"{usage}\n\nProbe 100 % of kqlmi, %s and %(prog)s.\n")


def test_words_are_split_at_blanks_outside_quotes() -> None:
    assert split('connect \'a b\' "c d" "#x"') == ["connect", "a b", "c d", "#x"]


@given(st.lists(st.text(st.characters(exclude_characters="'"), max_size=8)))
def test_quoted_words_are_read_as_they_are(words: list[str]) -> None:
    line = " ".join(f"'{word}'" for word in words)
    assert split(line) == split(f"{line} # note") == split(f"{line};") == split(line, {}) == words


@given(st.text(max_size=40))
def test_a_line_is_split_as_a_shell_would_split_it(line: str) -> None:
    assume(not set(line) & set("#;"))
    lexer = shlex.shlex(line, posix=True)
    lexer.whitespace_split, lexer.escape, lexer.commenters = True, "", ""
    try:
        expected = list(lexer)
    except ValueError:
        with pytest.raises(CellError, match="quote"):
            split(line)
    else:
        assert split(line) == expected


@given(st.text())
def test_the_value_of_a_variable_stays_in_its_word_and_begins_no_option(value: str) -> None:
    variables = {"x": value}
    assert split("show a{x}b --database={x} '{x}'", variables) == ["show", f"a{value}b", f"--database={value}", "{x}"]
    if re.match(r"-(?!\d*\.?\d+\Z|\Z)", value):
        with pytest.raises(CellError, match="cannot begin an option"):
            split("{x}", variables)
    else:
        assert Syntax("show", (WORDS, FLAG)).parse(split("{x}", variables)) == ([value], {})


@pytest.mark.parametrize("word", ["{x}", "-{y}", "--re{z}", "--{w}=1", "--r'e'{z}", "-{x}={x}"])
def test_no_part_of_the_name_of_an_option_comes_from_a_variable(word: str) -> None:
    with pytest.raises(CellError, match="cannot begin an option") as caught:
        split(f"apply {word}", {"x": "--revoke", "y": "-revoke", "z": "voke", "w": "revoke"})
    assert "voke" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a b", "a b"),
        (3, "3"),
        (np.int64(3), "3"),
        (-5, "-5"),
        (Decimal("1.50"), "1.50"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (date(2024, 1, 2), "2024-01-02"),
        ("$y {y} %s", "$y {y} %s"),
    ],
)
def test_single_values_are_written_as_text(value: object, text: str) -> None:
    assert split("{v}", {"v": value, "y": "z"}) == [text]


@pytest.mark.parametrize("value", [None, True, ["a"], b"a", object(), {"a": 1}])
def test_any_other_value_of_a_variable_is_refused(value: object) -> None:
    with pytest.raises(CellError, match=r"'v' is of type .*, which is not a single word"):
        split("a{v}", {"v": value})


@pytest.mark.parametrize("word", ["{v.name}", "{1}", "{}", "{ v }", "{v!r}", "{v:>3}", "$v", "{v+v}"])
def test_nothing_but_a_name_in_braces_is_replaced(word: str) -> None:
    assert "".join(split(f"'{word}'", {"v": "PLANTED"})) == word
    assert "PLANTED" not in "".join(split(word, {"v": "PLANTED"}))


def test_a_variable_that_does_not_exist_is_refused() -> None:
    with pytest.raises(CellError, match="'nowhere' is not defined"):
        split("show {nowhere}", {})
