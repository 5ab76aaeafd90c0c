"""Helpers that open a panel in a browser tab and use it."""

import json
import re
from typing import TYPE_CHECKING

from azure.kusto.data import KustoClient, KustoConnectionStringBuilder
from playwright.sync_api import Locator, expect

from kqlmi.local.cluster import LocalCluster

from .lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterable

BOTH = ["jupyterlab", "notebook"]
SHOW = ".show database ['Samples'] policy managed_identity"


def usages(cluster: LocalCluster, identity: str) -> str:
    """Return the usages of an identity in the database Samples, read with the plain SDK."""
    builder = KustoConnectionStringBuilder.with_aad_user_token_authentication(cluster.url, cluster.token)
    with KustoClient(builder) as sdk:
        [row] = sdk.execute_mgmt("Samples", SHOW).primary_results[0].rows
    found = {entry["ObjectId"]: entry["AllowedUsages"] for entry in json.loads(row["Policy"])}
    return str(found.get(identity, ""))


def object_id(cluster: LocalCluster, name: str) -> str:
    return next(one.object_id for one in cluster.identities if one.display_name == name)


def open_panel(
    lab: Lab, cluster: LocalCluster, *, token: str = "", options: str = "", more: "Iterable[str]" = ()
) -> Locator:
    """Open a notebook whose third cell shows a panel on Samples, named ``panel``, followed by further cells."""
    lab.open(
        [
            f"import os; os.environ['KQLMI_TOKEN'] = {token or cluster.token!r}",
            f"%load_ext kqlmi\n%kqlmi connect {cluster.url} --auth token --name rehearsal {options}",
            "panel = get_ipython().run_line_magic('kqlmi', 'panel --database Samples')\npanel",
            *more,
        ]
    )
    for index in range(3):
        lab.run_cell(index)
    panel = lab.output(2).locator(".kqlmi")
    expect(panel.get_by_role("gridcell")).not_to_have_count(0)
    # Wait until everything is read in the background, so that nothing is redrawn unexpectedly.
    expect(panel).to_contain_text(re.compile(r"(\d+) of \1 scopes read|refused"))
    return panel


def box(panel: Locator, name: str) -> Locator:
    """Return the box of a cell, by identity and usage."""
    return panel.get_by_role("checkbox", name=name)


def press(panel: Locator, name: str) -> None:
    """Press a button of the panel."""
    panel.get_by_role("button", name=name, exact=True).click()
