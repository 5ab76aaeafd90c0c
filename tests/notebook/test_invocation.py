import pytest

from kqlmi.errors import CellError
from kqlmi.model.statement import Statement
from kqlmi.notebook.invocation import Cell, parse_cell

X = Statement(".x")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", Cell(X)),
        ("df <<", Cell(X, "df")),
        ("df<< --raw", Cell(X, "df", raw=True)),
        ('--database "Field Reports" --on prod', Cell(X, database="Field Reports", on="prod")),
        ("--database=C:\\data", Cell(X, database="C:\\data")),
        (" größe << ", Cell(X, "größe")),
    ],
)
def test_the_first_line_of_a_cell_is_read(line: str, expected: Cell) -> None:
    assert parse_cell(line, ".x") == expected


@pytest.mark.parametrize(
    ("line", "culprit"),
    [
        ("1x <<", "1x"),
        ("class <<", "class"),
        ("df", "is not allowed"),
        ("--databse X", "Did you mean --database"),
        ("--database", "--database needs a value"),
        ("--database --raw", "--database needs a value"),
        ("--raw=1", "does not take a value"),
        ("'open", "quote"),
    ],
)
def test_a_wrong_first_line_is_refused_and_the_culprit_named(line: str, culprit: str) -> None:
    with pytest.raises(CellError, match=culprit):
        parse_cell(line, ".x")


@pytest.mark.parametrize("text", ["", "  \n", "// only a comment\n"])
def test_an_empty_cell_is_refused(text: str) -> None:
    with pytest.raises(CellError, match="empty"):
        parse_cell("", text)


@pytest.mark.parametrize(
    "text",
    [
        ".show databases\n.show tables",
        ".show databases\n\n  .show tables",
        ".alter cluster policy managed_identity '[]'\r\n.delete cluster policy managed_identity",
        "T | count\n.show tables",
        ".show databases // one\n.drop table T",
    ],
)
def test_two_commands_are_refused(text: str) -> None:
    with pytest.raises(CellError, match="two commands"):
        parse_cell("", text)


@pytest.mark.parametrize(
    "text",
    [
        ".alter cluster policy managed_identity ```\n.show databases\n```",
        ".show databases\n// .show tables",
        ".execute database script <|\n.create table A (a: int)\n.create table B (a: int)",
        ".set-or-append T <|\ndatabase('X')\n.T",
        ".show databases |\n.5",
        "print (1\n.show\n)",
        ".show\ndatabases",
        ".ingest inline into table T <|\na,1\n.get,2",
    ],
)
def test_when_in_doubt_it_is_one_command(text: str) -> None:
    assert parse_cell("", text).statement == text


def test_a_shift_is_not_an_assignment() -> None:
    assert parse_cell("", "print 1 << 2").name == ""


@pytest.mark.parametrize(
    ("text", "second", "script"),
    [
        (".create table A (x: long)\n.drop table B", ".drop table B", "database script"),
        (".alter cluster policy callout '[]'\n// why\n.delete cluster policy callout // sig=1", ".delete cluster policy callout", "cluster script"),
        (".alter cluster policy callout '[]'\n.create table A (x: long)", ".create table A (x: long)", ""),
        (".create table A (x: long)\n.show tables // .drop table A", ".show tables", ""),
        (".show tables\n.create table A (x: long)", ".create table A (x: long)", ""),
        ("T | count // .show tables\n.drop table T", ".drop table T", ""),
    ],
)  # fmt: skip
def test_the_hint_on_two_commands_offers_a_script_only_if_it_would_run_both(
    text: str, second: str, script: str
) -> None:
    with pytest.raises(CellError) as caught:
        parse_cell("", text)
    assert caught.value.message.endswith(f"begins at {second!r}.")
    assert caught.value.hint == f"Put each in its own cell{script and f', or run both with .execute {script} <|'}."


@pytest.mark.parametrize(
    "text",
    [
        ".execute database script <|\n.create table A (x: long)\n.show tables",
        ".execute cluster script with (ThrowOnErrors=true) <|\n\n// .drop table A\n.show tables",
        ".show tables\n// .show databases",
        ".show tables // .show databases\n| count",
        "// .drop table A\n.show tables\n//\n",
    ],
)
def test_a_comment_or_a_command_of_a_script_is_no_second_command(text: str) -> None:
    assert parse_cell("", text).statement == text
