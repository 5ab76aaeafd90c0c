import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kqlmi.local.language.lexer import Kind, mask_hidden, next_token, tokens
from kqlmi.local.values.faults import KustoError

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
ONE_LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"))


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        ("'abc'", "abc"),
        ('"abc"', "abc"),
        ("'it\\'s'", "it's"),
        ('"it\'s"', "it's"),
        (r"'\\ \a\b\f\n\r\t\v'", "\\ \a\b\f\n\r\t\v"),
        (r"'\x41\101\u0041\U00000041'", "AAAA"),
        (r"'\0\12\377\477'", "\0\n\xff\x277"),
        (r"'\ud83d\ude00'", "😀"),
        ("@'a\\b''c'", "a\\b'c"),
        ('@"a\\b""c"', 'a\\b"c'),
        ("h'secret'", "secret"),
        ("H@'sec\\ret'", "sec\\ret"),
        ("```a\r\n'b' \\ ~~~```", "a\r\n'b' \\ ~~~"),
        ("``````", ""),
        ("~~~a`b~~~", "a`b"),
        ("h```a```", "a"),
        ("@```a\\```", "a\\"),
        ("'\0\t'", "\0\t"),
        ("'//no comment'", "//no comment"),
    ],
)
def test_a_string_literal_has_its_value(literal: str, value: str) -> None:
    token = next_token(literal, 0)
    assert (token.kind, token.value, token.end) == (Kind.STRING, value, len(literal))


@pytest.mark.parametrize(
    "broken", ["'a", "'a\nb'", r"'\d'", r"'\8'", r"'\x4'", r"'\u004'", "@'a", "```a``", r"'\U00110000'", "'a\\"]
)
def test_a_broken_literal_is_a_syntax_error(broken: str) -> None:
    with pytest.raises(KustoError, match="SYN0002"):
        next_token(broken, 0)


def test_blanks_and_comments_are_allowed_between_tokens() -> None:
    text = "\ufeff\u200b// one\r.\u00a0 show//two\u2028 tables\f"
    assert [token.text for token in tokens(text)] == [".", "show", "tables"]


def test_numbers_timespans_and_guids_are_not_words() -> None:
    text = "12 1e5 0x1F 1d 5min 1.5h abcdef01-0000-0000-0000-000000000000 1db $x 10mine"
    kinds = [token.kind.value for token in tokens(text)]
    assert kinds == ["number"] * 6 + ["guid"] + ["word"] * 3


@given(ONE_LINE)
@settings(deadline=None)
def test_a_verbatim_literal_keeps_everything_but_doubled_quotes(value: str) -> None:
    doubled = value.replace("'", "''")
    assert next_token(f"@'{doubled}'", 0).value == value


def test_hidden_literals_are_masked_and_the_rest_is_kept() -> None:
    assert mask_hidden(".x h'secret' 'plain' h@\"s\"") == ".x h'****' 'plain' h'****'"
    assert "secret" not in mask_hidden(".x h'secret")


@pytest.mark.parametrize("broken", [r"'\ud800'", r"'a\udc00b'", r'"\ude00\ud83d"', r"'\ud83d' '\ude00'"])
def test_an_unpaired_surrogate_is_a_syntax_error(broken: str) -> None:
    with pytest.raises(KustoError, match="surrogate"):
        list(tokens(broken))
