"""Tests that text that is a secret by its form or name is redacted, and nothing else is."""

import copy
import dataclasses
import pickle

import pytest

from kqlmi.redaction import HIDDEN, Secret, is_secret, redacted, redacted_values, secrets_in

KEY = "A1b2/C3d4+" * 8 + "A1b2C3=="
HUB_KEY = "A1b2/C3d4+" * 4 + "abc="
SECRETS = [
    (f"https://a.blob.core.windows.net/c?sv=1&sig={KEY[:20]}%3D&se=2", f"{KEY[:20]}%3D"),
    (f"AccountKey={KEY};EndpointSuffix=core", KEY),
    (f"https://a.blob.core.windows.net/c;{KEY}", KEY),
    (f"Endpoint=sb://n/;SharedAccessKey={HUB_KEY}", HUB_KEY),
    ("Server=s;Password=hunter 2;User Id=ada", "hunter 2"),
    ("Server=s;Pwd='hunter;2';User Id=ada", "hunter;2"),
    ('{"Password": "hunter2"}', "hunter2"),
    ('{\\"client_secret\\": \\"hunter2\\"}', "hunter2"),
    ("client_secret=hunter2&grant_type=x", "hunter2"),
    ("https://bucket.s3.amazonaws.com/x;AwsCredentials=ID,hunter2", "ID,hunter2"),
    ("https://ada:hunt/er2@host/path", "hunt/er2"),
    ("https://hunter2@host/path", "hunter2"),
    ("Authorization: Bearer hunter2-hunter2", "hunter2-hunter2"),
    ("the token eyJhbGciOi.J9abc.sig_nature is old", "eyJhbGciOi.J9abc.sig_nature"),
    ("it is kQ78Q~abcdefghijklmnopqrstuvwxyz01234567 there", "kQ78Q~abcdefghijklmnopqrstuvwxyz01234567"),
    ("https://m/x?api-version=1&api-key=hunter2", "hunter2"),
]
PLAIN = [
    "https://acct.blob.core.windows.net/data/a.csv;managed_identity=system",
    "abfss://files@acct.dfs.core.windows.net/a.csv",
    "http://127.0.0.1:8080/x@y",
    "https://host:443",
    "Check AZURE_TENANT_ID, AZURE_CLIENT_ID, and AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH.",
    "AADSTS7000215: Invalid client secret provided.",
    'Authentication="Active Directory Managed Identity";User Id=c0c0c0c0-0000-4000-8000-c0c0c0c0c0c0',
    "The session needs a token: sign in. The password is not known.",
    "A bearer token of this local cluster is required.",
    "significance=high, key: value, code=BadRequest",
]


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_a_secret_is_redacted_and_the_rest_is_kept(text: str, secret: str) -> None:
    shown = redacted(text)
    assert shown == text.replace(secret, HIDDEN)
    assert secrets_in(text) == {secret}
    assert redacted(shown) == shown
    assert redacted_values({"a": [text, 1]}) == {"a": [shown, 1]}


@pytest.mark.parametrize("text", PLAIN)
def test_text_that_is_not_a_secret_is_kept(text: str) -> None:
    assert redacted(text) == text
    assert not is_secret(text)


def test_a_piece_of_a_known_secret_is_redacted() -> None:
    known = ["correct horse battery staple", "abc", ""]
    assert redacted("near 'horse battery' and abc", known) == "near '****' and abc"
    assert redacted("near 'horse bat'", known) == "near 'horse bat'"
    assert redacted("it is s3cr there", ["s3cr"]) == "it is **** there"


@dataclasses.dataclass
class _Holder:
    secret: str


def test_a_secret_is_used_as_text_and_not_shown() -> None:
    holder = _Holder(Secret("hunter2"))
    assert f"Bearer {holder.secret}" == "Bearer hunter2"
    assert (
        "hunter2"
        not in f"{holder!r} {vars(holder)} {dataclasses.asdict(holder)['secret']} {copy.deepcopy(holder).secret}"
    )
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(holder)
