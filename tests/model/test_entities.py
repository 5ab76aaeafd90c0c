import pytest

from kqlmi.errors import InputError
from kqlmi.model.entities import SYSTEM, Identity, ObjectId
from kqlmi.model.policy.directory import Directory

ONE, TWO = ObjectId("11111111-2222-3333-4444-555555555555"), ObjectId("22222222-2222-3333-4444-555555555555")
CLIENT, PRINCIPAL = "33333333-2222-3333-4444-555555555555", "44444444-2222-3333-4444-555555555555"
KNOWN = [
    Identity(ONE, "Loader", CLIENT),
    Identity(TWO, "twin"),
    Identity(SYSTEM, "cluster", is_system=True, principal_id=PRINCIPAL),
]


def resolve(known: list[Identity], text: str) -> ObjectId:
    return Directory().assigning(known).resolve(text).object_id


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("loader", ONE),
        (ONE.upper(), ONE),
        (CLIENT, ONE),
        ("system", SYSTEM),
        (PRINCIPAL, SYSTEM),
        ("99999999-2222-3333-4444-555555555555", "99999999-2222-3333-4444-555555555555"),
    ],
)
def test_an_identity_is_found_by_each_of_its_names(text: str, expected: str) -> None:
    assert resolve(KNOWN, text) == expected


def test_a_display_name_never_catches_what_is_meant_for_another() -> None:
    meant = "99999999-2222-3333-4444-555555555555"
    assert resolve([Identity(ONE, meant), Identity(TWO, "system")], meant) == meant
    assert resolve([Identity(ONE, meant), Identity(TWO, "system")], "system") == SYSTEM


def test_an_ambiguous_or_unknown_name_is_refused() -> None:
    with pytest.raises(InputError, match=f"{TWO}.*{ONE}"):
        resolve([KNOWN[1], Identity(ONE, "Twin")], "twin")
    with pytest.raises(InputError, match="Did you mean Loader"):
        resolve(KNOWN, "loadr")
