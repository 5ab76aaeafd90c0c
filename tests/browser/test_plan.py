"""Tests of a plan as JupyterLab shows it: identical steps folded, every name in the page, and what it stops in red."""

import pytest
from playwright.sync_api import expect

from .lab import Lab

pytestmark = pytest.mark.browser

START = """\
%load_ext kqlmi
import kqlmi
LOADER = "11111111-2222-3333-4444-555555555555"
names = ["Samples", *(f"Db{n:03}" for n in range(300))]
cluster = kqlmi.local.start(databases=names, identities=[kqlmi.local.Identity("loader", LOADER)])
cluster.add_storage("https://acct.blob.core.windows.net/data", ".")
session = kqlmi.connect(cluster.url, token=cluster.token, history=False)
done = session.apply(session.grant(LOADER, "ExternalTable", databases=["Samples"]))
where = f"h@'https://acct.blob.core.windows.net/data;managed_identity={LOADER}'"
done = session.run(f".create external table T (a: string) kind=storage dataformat=csv ({where})", "Samples")
rows = "".join(f"  {name}: {{loader: [SqlRequest]}}\\n" for name in names)
text = f"kqlmi: 1\\nmode: partial\\nidentities: {{loader: {LOADER}}}\\ndatabases:\\n{rows}"
file = open("all.yaml", "w").write(text)
import os
os.environ["KQLMI_TOKEN"] = cluster.token
get_ipython().run_line_magic("kqlmi", f"connect {cluster.url} --auth token --name prod")"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_plan_over_300_databases_is_folded_and_names_all_of_them(lab: Lab, *, dark: bool) -> None:
    lab.open([START, "%kqlmi plan all.yaml"])
    lab.set_theme(dark=dark)
    lab.run_all()
    plan = lab.output(1).locator(".kqlmi-report")
    expect(plan.get_by_text("! Would stop: loader")).to_be_visible()
    stops, grants = plan.get_by_text("! Would stop: loader"), plan.get_by_text("+ loader")
    red = stops.evaluate("one => getComputedStyle(one).color.match(/\\d+/g).map(Number)")
    assert red[0] > red[1] + red[2]
    expect(grants).to_have_count(1)
    expect(plan.get_by_text("Db150")).to_be_hidden()
    plan.scroll_into_view_if_needed()
    lab.screenshot(f"plan-folded-{'dark' if dark else 'light'}")
    plan.get_by_text("all 301 names").click()
    expect(plan.get_by_text("Db150")).to_be_visible()
    lab.screenshot(f"plan-unfolded-{'dark' if dark else 'light'}")
    assert lab.page_errors == []
    assert lab.foreign_requests == []
