import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kqlmi.local import lenient_json

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(VALUES, st.booleans())
@settings(deadline=None)
def test_strict_json_is_read_as_it_is(value: Any, ascii_only: bool) -> None:  # noqa: FBT001
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
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(lenient_json.LenientJsonError):
        lenient_json.loads(text)
