"""Tests that connection strings are read as documented, and never on behalf of another identity."""

import pytest

from kqlmi.local.values import connectionstrings
from kqlmi.local.values.connectionstrings import Location, named_identities
from kqlmi.local.values.faults import KustoError

ID = "12345678-1234-1234-1234-1234567890ab"
URL = "https://fabrikam.blob.core.windows.net/container/path/to/file.csv"
ONELAKE = "onelake.dfs.fabric.microsoft.com"


@pytest.mark.parametrize(
    ("credentials", "identity"),
    [
        (";managed_identity=system", "system"),
        (f";managed_identity={ID}", ID),
        (f"; managed_identity={ID}", ID),
        (f" ; managed_identity = {ID} ", ID),
        (f";managedIdentity={ID}", ID),
        (f";ManagedIdentity={ID}", ID),
    ],
)
def test_every_documented_spelling_of_an_identity_is_accepted(credentials: str, identity: str) -> None:
    location = connectionstrings.parse(URL + credentials)
    assert (location.identity, location.url) == (identity, URL)
    assert location == connectionstrings.parse(location.shown)
    assert named_identities(URL + credentials) == [identity]


@pytest.mark.parametrize(
    ("url", "container", "path"),
    [
        ("https://acct.blob.core.usgovcloudapi.net/data/a.csv", "data", "a.csv"),
        ("https://acct.dfs.core.chinacloudapi.cn/data", "data", ""),
        ("abfss://data@acct.dfs.core.usgovcloudapi.net/in/a.csv", "data", "in/a.csv"),
        (
            f"https://{ONELAKE}/My%20Workspace/Lake.Lakehouse/Files/a.csv",
            "My%20Workspace",
            "Lake.Lakehouse/Files/a.csv",
        ),
        (f"abfss://{ID}@{ONELAKE}/{ID}/Files", ID, f"{ID}/Files"),
        ("https://onelake.blob.fabric.microsoft.com/W/L.Lakehouse", "W", "L.Lakehouse"),
        ("https://msit-onelake.dfs.fabric.microsoft.com/W/L.Lakehouse/Files/x.zip", "W", "L.Lakehouse/Files/x.zip"),
    ],
)
def test_sovereign_clouds_and_onelake_are_read(url: str, container: str, path: str) -> None:
    location = connectionstrings.parse(f"{url};managed_identity=system")
    assert (location.container, location.path, location.url) == (container, path, url)
    assert location.is_onelake == ("onelake" in url)


def test_an_account_of_another_cloud_is_another_account() -> None:
    ends = ("windows.net", "usgovcloudapi.net", "chinacloudapi.cn")
    assert len({connectionstrings.parse(f"https://acct.blob.core.{end}/data").account for end in ends}) == len(ends)
    assert not Location("myonelake", "data", "https://myonelake.blob.core.windows.net/data", "").is_onelake


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        (f"{URL};sharedkey=secret", "does not support keys"),
        (f"{URL};secret==", "does not support keys"),
        (f"{URL};token=secret", "does not support keys"),
        (f"{URL};managed_identity=system;secret", "does not support keys"),
        (f"{URL}?sv=1&sig=secret", "does not support shared access"),
        ("adl://acct.azuredatalakestore.net/secret", "does not support this kind of storage"),
        ("https://b.s3.us-east-1.amazonaws.com/f.csv;AwsCredentials=A,secret", "does not support this kind of storage"),
        (f"{URL};managed_identity = ", "must be followed"),
        (f"https://{ONELAKE}", "does not contain a valid OneLake workspace"),
        (f"https://{ONELAKE}/../x", "a part of a blob path must not"),
        (f"https://{ONELAKE}/a%2fb/x", "does not contain a valid OneLake workspace"),
        (f"https://{ONELAKE}/W/%2e%2e/x", "a part of a blob path must not"),
        (f"https://x@{ONELAKE}/W/x", "does not contain a valid OneLake workspace"),
        ("https://acct.blob.core.windows.net.evil.example/data", "is not that of a storage account"),
        (f"https://{ONELAKE}.evil.example/W/x", "is not that of a storage account"),
    ],
)
def test_an_unsupported_connection_string_is_refused_and_not_repeated(text: str, reported: str) -> None:
    with pytest.raises(KustoError, match=reported) as caught:
        connectionstrings.parse(text)
    assert "secret" not in caught.value.detail


def test_blanks_in_an_identity_are_read_in_linear_time() -> None:
    """Quadratic time would never finish here."""
    written = f"managed_identity= a{' ' * 1_000_000}b"
    assert named_identities(f"{URL};{written}") == [written.partition("= ")[2]]
    assert connectionstrings.parse(f"{URL};{written}").identity == written.partition("= ")[2]
