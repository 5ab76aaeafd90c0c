import pytest

from kqlmi.model.azure.resourceid import ResourceId

CLUSTER = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Kusto/clusters/c"
HUB = "/subscriptions/s/resourceGroups/g/providers/Microsoft.EventHub/namespaces/n/eventhubs/h"


@pytest.mark.parametrize("text", [CLUSTER, CLUSTER.lower(), CLUSTER.upper()])
def test_letter_case_does_not_matter(text: str) -> None:
    found = ResourceId.parse(text, "Microsoft.Kusto/clusters")
    assert found
    assert (found.subscription.lower(), found.group.lower(), found.name.lower()) == ("s", "g", "c")


def test_the_name_is_the_last_of_a_nested_resource() -> None:
    assert ResourceId.parse(HUB, "Microsoft.EventHub/namespaces/eventhubs") == ResourceId("s", "g", "h")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c",
        HUB,
        f"{CLUSTER}/",
        f"{CLUSTER}/databases/d",
        f"x{CLUSTER}",
        f"{CLUSTER}\n",
        CLUSTER.replace("/g/", "//"),
    ],
)
def test_an_id_of_another_kind_is_rejected(text: str) -> None:
    assert ResourceId.parse(text, "Microsoft.Kusto/clusters") is None
