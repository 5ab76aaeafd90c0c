import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kqlmi.local.values import lenient_json

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(VALUES, st.booleans())
@settings(deadline=None)
def test_strict_json_is_read_as_json(value: Any, ascii_only: bool) -> None:  # noqa: FBT001
    assert lenient_json.loads(json.dumps(value, ensure_ascii=ascii_only, indent=1)) == value


@given(st.text())
@settings(deadline=None)
def test_a_text_in_single_quotes_is_the_same_text(value: str) -> None:
    inside = json.dumps(value)[1:-1].replace('\\"', '"').replace("'", "\\'")
    assert lenient_json.loads(f"'{inside}'") == value


@pytest.mark.parametrize(
    "text",
    ["", "[", "[1,]", "{a: 1}", "{'a' 1}", "{'a': 1,}", "01", "1.", "NaN", "'a", "'a\nb'", "tru", "[1] 2", "'\\x41'"],
)
def test_text_that_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(lenient_json.LenientJsonError):
        lenient_json.loads(text)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**300), max_value=10**300, places=40))
@settings(deadline=None)
def test_a_number_is_written_as_the_number_that_was_read(value: Decimal) -> None:
    assert Decimal(lenient_json.dumps(lenient_json.loads(str(value)))) == value


def test_numbers_survive_in_arrays_and_objects() -> None:
    text = '{"a":[0.1000000000000000000001,0.1,9007199254740993,-0.0],"é":{"b":1E-999}}'
    assert lenient_json.dumps(lenient_json.loads(text)) == text


@pytest.mark.parametrize("text", ["1e999", "-1e999", "1" * 5000, "1e-99999999999999999999", '"\\ud800"', "'\\udc00x'"])
def test_nan_and_an_unpaired_surrogate_are_refused(text: str) -> None:
    with pytest.raises(lenient_json.LenientJsonError):
        lenient_json.loads(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("['it\\'s', 'é', x]", "at offset 15, found 'x]'"),
        ("['a', 'b]", "the string at offset 6 is not closed by '"),
        ('["a\n", \'b"\']', 'the string at offset 1 is not closed by "'),
        ("{'a': 1, \"a\": 2}", "the property 'a' appears twice"),
        ("[" * 65 + "1" + "]" * 65, "nested more than 64 levels deep"),
        ("['a'", "found the end"),
    ],
)
def test_an_error_states_its_position_in_the_text(text: str, says: str) -> None:
    with pytest.raises(lenient_json.LenientJsonError) as caught:
        lenient_json.loads(text)
    assert says in str(caught.value)
