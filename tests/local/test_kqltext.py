from hypothesis import given, settings
from hypothesis import strategies as st

from kqlmi.local import kqltext
from kqlmi.local.lexer import Kind, next_token, tokens

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def _hex(value: str) -> str:
    return "'" + "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else c for c in value) + "'"


def _octal(value: str) -> str:
    return "'" + "".join(f"\\{ord(c):03o}" if ord(c) < 0o400 else c for c in value) + "'"


def _bytes(value: str) -> str:
    return '"' + "".join(f"\\x{ord(c):02x}" if ord(c) < 0x100 else c for c in value) + '"'


def _forms(value: str) -> list[str]:
    """Give every way in which a value can be written."""
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
def test_quote_gives_a_literal_of_one_line(value: str) -> None:
    literal = kqltext.quote(value)
    assert next_token(literal, 0).value == value
    assert not set(literal) & {"\r", "\n"}


def test_comments_and_rare_blanks_become_plain_blanks() -> None:
    assert kqltext.for_engine("T\u00a0| // it's\u2028 count // end", str) == "T | count"


def test_a_database_is_given_the_name_that_the_engine_knows() -> None:
    text = "database(h'A').T | where x == 'A'"
    assert kqltext.for_engine(text, lambda name: f"<{name}>") == "database('<A>').T | where x == 'A'"
