"""Tests of plans from a policy file, whose identities may be listed elsewhere on the cluster."""

import pytest

import kqlmi
from kqlmi.policyfile import PolicyFileError

TEXT = "kqlmi: 1\nmode: partial\ndatabases:\n  Samples:\n    {}: [SqlRequest]\n"


def test_a_name_that_only_another_database_lists_is_found() -> None:
    with (
        kqlmi.local.start(databases=["Samples", "Other"], identities=["loader"]) as cluster,
        kqlmi.connect(cluster.url, token=cluster.token, history=False) as first,
        kqlmi.connect(cluster.url, token=cluster.token, history=False) as session,
    ):
        loader = cluster.identities[0].object_id
        first.apply(first.grant(loader, "ExternalTable", databases=["Other"]))
        plan, _ = session.plan_file(TEXT.format("Loader"))
        [change] = plan.changes
        assert (change.identity, change.usage, change.scope) == (loader, "SqlRequest", kqlmi.Scope.database("Samples"))
        with pytest.raises(PolicyFileError, match=r"Line 5.*'nobody' is not listed in any policy"):
            session.plan_file(TEXT.format("nobody"))
