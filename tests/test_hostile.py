"""Tests that no name can do harm on the way through the writer of commands, the SDK and the local cluster, and back."""

from hypothesis import assume, given
from hypothesis import strategies as st

import kqlmi
from kqlmi.model.entities import Scope, known_usage
from kqlmi.model.policy.policy import Policy

# Lone surrogates cannot be sent in any encoding, and are refused earlier.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=16)
NAMES = TEXT | st.sampled_from(
    [
        "policy",
        "O'Brien",
        'it\'s "x"',
        "a]b",
        "']",
        "\\",
        "\\'",
        "```",
        "a\r\nb",
        "\u2028",
        "{db}",
        "// x",
        "$(x)",
        "%00",
    ]
)
USAGES = TEXT.map(lambda text: text.replace(",", "").strip()).filter(lambda text: text and not known_usage(text))


@given(NAMES, NAMES, USAGES)
def test_hostile_names_survive_the_round_trip(database: str, display_name: str, usage: str) -> None:
    assume(database.casefold() not in {"netdefaultdb", "other"})
    identity = kqlmi.local.Identity(display_name)
    with (
        kqlmi.local.start(databases=[database, "Other"], identities=[identity], usages=[usage]) as cluster,
        kqlmi.connect(cluster.url, token=cluster.token, history=False) as session,
    ):
        scope = Scope.database(database)
        policy = Policy.empty().grant(identity.object_id, usage, "ExternalTable", also=[usage])
        session.apply(session.plan({scope: policy}))
        assert session.databases() == (database, "Other")
        found = session.policy(scope)
        assert found is not None
        assert found.grants == policy.grants
        assert found.entries[0].display_name == display_name
        assert session.policy(Scope.database("Other")) is None
        session.apply(session.plan({scope: found.revoke(identity.object_id, "ExternalTable")}))
        left = session.policy(scope)
        assert left is not None
        assert left.grants == {(identity.object_id, usage)}
        session.apply(session.plan({scope: None}))
        assert session.policy(scope) is None
