from collections import Counter

from kqlmi.model.usages import USAGES
from kqlmi.model.workflows import WORKFLOWS


def test_every_workflow_needs_a_usage_of_the_catalogue_and_every_usage_but_all_opens_one() -> None:
    assert {row.usage for row in WORKFLOWS} == {usage.name for usage in USAGES} - {"All"}


def test_the_ten_usages_and_the_27_workflows_have_distinct_names() -> None:
    assert len(USAGES) == 10
    assert len(WORKFLOWS) == 27
    for names in ((usage.name for usage in USAGES), (row.id for row in WORKFLOWS), (row.title for row in WORKFLOWS)):
        assert max(Counter(names).values()) == 1


def test_only_workflows_of_a_cluster_only_usage_are_cluster_only() -> None:
    only = {usage.name for usage in USAGES if usage.cluster_only}
    assert all(row.cluster_only == (row.usage in only) for row in WORKFLOWS)


def test_inferred_rows_are_marked_as_inferred() -> None:
    assert Counter(row.sure for row in WORKFLOWS) == {"documented": 20, "inferred": 7}
