import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kqlmi.local.engine import kqltext
from kqlmi.local.language.lexer import Kind, next_token, tokens
from kqlmi.local.values.faults import KustoError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def _hex(value: str) -> str:
    return "'" + "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else c for c in value) + "'"


def _octal(value: str) -> str:
    return "'" + "".join(f"\\{ord(c):03o}" if ord(c) < 0o400 else c for c in value) + "'"


def _bytes(value: str) -> str:
    return '"' + "".join(f"\\x{ord(c):02x}" if ord(c) < 0x100 else c for c in value) + '"'


def _forms(value: str) -> list[str]:
    """Return every way of writing a value."""
    forms = [kqltext.quote(value), "h" + kqltext.quote(value), _hex(value), "H" + _octal(value), _bytes(value)]
    if not set(value) & {"\r", "\n"}:
        single, double = value.replace("'", "''"), value.replace('"', '""')
        forms += [f"@'{single}'", f'h@"{double}"']
    for fence in ("```", "~~~"):
        if fence not in value and not value.endswith(fence[0]):
            forms += [f"{fence}{value}{fence}", f"h{fence}{value}{fence}"]
    middle = len(value) // 2
    return [*forms, f"{kqltext.quote(value[:middle])} h{kqltext.quote(value[middle:])}"]


@given(TEXT)
@settings(max_examples=500, deadline=None)
def test_every_literal_form_becomes_one_plain_literal_of_the_same_value(value: str) -> None:
    for form in _forms(value):
        found = list(tokens(kqltext.for_engine(f"print x = {form}", str)))
        assert [token.kind for token in found[3:]] == [Kind.STRING]
        assert found[3].value == value
        assert found[3].text[0] == "'"


@given(TEXT)
@settings(deadline=None)
def test_quote_returns_a_literal_on_one_line(value: str) -> None:
    literal = kqltext.quote(value)
    assert next_token(literal, 0).value == value
    assert not set(literal) & {"\r", "\n"}


def test_comments_and_rare_blanks_become_plain_blanks() -> None:
    assert kqltext.for_engine("T\u00a0| // it's\u2028 count // end", str) == "T | count"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("print a.count.where", "print a['count']['where']"),
        ("print a[0].b", "print a[0]['b']"),
        ("T | join (T) on $left.x == $right.x", "T | join (T) on $left.x == $right.x"),
    ],
)
def test_a_member_may_be_called_as_an_operator(text: str, read: str) -> None:
    assert kqltext.for_engine(text, str) == read


def test_a_database_is_given_the_name_that_the_engine_knows() -> None:
    text = "database(h'A').T | where x == 'A'"
    assert kqltext.for_engine(text, lambda name: f"<{name}>") == "database('<A>').T | where x == 'A'"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("bool(1)", "true"),
        ("bool(0)", "false"),
        ("boolean( 2 )", "true"),
        ("bool(null)", "bool(null)"),
        ("tobool(1)", "tobool(1)"),
        ("datetime('2020-1-2 03:04')", "datetime(2020-01-02T03:04:00.000000Z)"),
        ("date(null)", "datetime(null)"),
    ],
)
def test_a_bool_or_datetime_literal_is_written_so_that_the_engine_reads_it(written: str, read: str) -> None:
    assert kqltext.for_engine(f"print x = {written}", str) == f"print x = {read}"


@pytest.mark.parametrize("literal", ["datetime(2020)", "datetime(2020-01)", "datetime('bad')", "date(1)", "bool('x')"])
def test_a_bool_or_datetime_literal_that_is_not_read_exactly_is_refused(literal: str) -> None:
    with pytest.raises(KustoError, match="literal"):
        kqltext.for_engine(f"print x = {literal} | extend y = 1", str)


@pytest.mark.parametrize(
    "text",
    [
        "T | where a = 0",
        "T | where b == 1 and (a = 0)",
        "T | where not(a = 0)",
        "T | extend b = iff(a = 0, 1, 2)",
        "T | summarize countif(a = 0)",
        "T | join (U | where a = 0) on b",
        "| where a = 0",
    ],
)
def test_a_single_equals_sign_in_a_predicate_is_a_syntax_error(text: str) -> None:
    with pytest.raises(KustoError, match="SYN0002"):
        kqltext.for_engine(text, str)


@pytest.mark.parametrize(
    "text",
    [
        "T | where a == 0 and b >= 1 and c <= 2 and d != 3 and e =~ 'x' and f !~ 'y' | extend g = 1",
        "T | where a in ((U | project b = c)) | summarize n = countif(a == 0)",
        "T | where a in ((print b = 1)) | join kind = inner (U | where a == 1) on a",
    ],
)
def test_every_other_equals_sign_passes(text: str) -> None:
    assert kqltext.for_engine(text, str) == text


def test_a_range_of_reals_is_refused_and_one_of_timespans_is_not() -> None:
    for text in ("range x from 1 to 3 step 0.5", "range x from 1.5 to 3 step 1", "range x from 1 to 1e9 step 1"):
        with pytest.raises(KustoError, match="reals"):
            kqltext.for_engine(text, str)
    text = "range t from ago(1d) to now() step 1.55h"
    assert kqltext.for_engine(text, str) == text
