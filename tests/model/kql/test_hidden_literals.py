"""What a text hides is known, so that no error and no record repeats it."""

import pytest

from kqlmi.model.statement import Statement

BLOB = "https://acct.blob.core.windows.net/data/a.csv"


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("print h'hunter2'", {"hunter2"}),
        ('print H@"hunt""er2"', {'hunt"er2', 'hunt""er2'}),
        ("print h```hunter2```", {"hunter2"}),
        (f"externaldata (a: string) [h'{BLOB};managed_identity=system']", set()),
        (f"externaldata (a: string) [h'{BLOB};impersonate']", set()),
        (f"externaldata (a: string) [h'{BLOB};hunter2']", {"hunter2"}),
        (f"externaldata (a: string) [h'{BLOB}']", set()),
        ("print 'hunter2' // h'x'", set()),
        ("print 'Password=hunter2'", {"hunter2"}),
    ],
)
def test_what_a_text_hides(text: str, secrets: set[str]) -> None:
    assert Statement(text).hidden == secrets


def test_a_text_is_kept_without_comments_and_secrets() -> None:
    text = "// why\n.alter cluster policy managed_identity  h'[]' // hunter2\n  | project Policy, 'AccountKey=hunter2'"
    assert (
        Statement(text).masked == ".alter cluster policy managed_identity h'****'\n| project Policy, 'AccountKey=****'"
    )
