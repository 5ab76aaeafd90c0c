"""Tests that the panel never executes text that it shows, excludes users with disabilities, jumps, or becomes slow."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, expect

import kqlmi
from kqlmi.local.cluster import LocalCluster

from .lab import Lab
from .panels import BOTH, box, object_id, open_panel, press

pytestmark = pytest.mark.browser

RUN = "window.ran_in_panel=1"
HOSTILE = [
    *(
        f"<{tag} {event}={RUN}>"
        for tag, event in [
            ("img src=x", "onerror"),
            ("svg", "onload"),
            ("video src=x", "onerror"),
            ("audio src=x", "onerror"),
            ("object data=x", "onerror"),
            ("body", "onload"),
            ("details open", "ontoggle"),
            ("input autofocus", "onfocus"),
            ("select autofocus", "onfocus"),
            ("textarea autofocus", "onfocus"),
            ("button autofocus", "onfocus"),
            ("marquee", "onstart"),
            ("iframe src=about:blank", "onload"),
            ("link rel=stylesheet href=x", "onerror"),
            ("style", "onload"),
            ("p tabindex=0 autofocus", "onfocus"),
            ("div style=animation-name:x", "onanimationstart"),
            ("script src=x", "onerror"),
            ("image src=x", "onerror"),
            ("source src=x", "onerror"),
        ]
    ),
    *(
        f"{before}<img src=x onerror={RUN}>{after}"
        for before, after in [
            ("</span>", ""),
            ("</div></div>", ""),
            ("</pre>", ""),
            ("</style>", "<style>"),
            ("</title>", ""),
            ("</textarea>", ""),
            ("</script>", "<script>"),
            ("</option></select>", ""),
            ("-->", "<!--"),
            ("]]>", "<![CDATA["),
            ('">', "<a title="),
            ("'>", "<a title='"),
            ("`>", "`"),
            ("<table><td>", "</td></table>"),
            ("<math><mtext>", ""),
            ("<svg><foreignObject>", ""),
            ("<template>", "</template>"),
            ("<noscript>", "</noscript>"),
            ("**x** [y](z) ", ""),
            ("$\\alpha$ ", ""),
        ]
    ),
    f"<script>{RUN}</script>",
    f"<SCRIPT>{RUN}</SCRIPT>",
    f"<scr<script>ipt>{RUN}</script>",
    f"<a href=javascript:{RUN}>go</a>",
    f"<iframe src=javascript:{RUN}></iframe>",
    f"<iframe srcdoc='<script>parent.{RUN}</script>'></iframe>",
    f"<form action=javascript:{RUN}><input type=submit></form>",
    f"<embed src=javascript:{RUN}>",
    f"<base href=javascript:{RUN}//>",
    f"<meta http-equiv=refresh content=0;url=javascript:{RUN}>",
    f"javascript:{RUN}",
    f'" onfocus={RUN} autofocus x="',
    f"' onmouseover={RUN} x='",
    f"${{{RUN}}}",
    f"{{{{constructor.constructor('{RUN}')()}}}}",
    f"&lt;img src=x onerror={RUN}&gt;",
    f"&#60;img src=x onerror={RUN}&#62;",
    f"%3Cimg src=x onerror={RUN}%3E",
]
# Everything that Python can send to the panel, with the text in every place.
EVERYWHERE = """
def everywhere(panel, text):
    cell = {"granted": True, "allowed": True, "changed": True, "text": text, "mark": text}
    workflow = {"title": text, "sure": text}
    column = {"usage": text, "summary": text, "known": False, "cluster_only": False, "workflows": [workflow] * 2}
    change = {"kind": "revoke", "scope": text, "who": text, "usage": text, "note": text}
    step = {"scope": text, "command": text, "pieces": [["word", text], ["", text]]}
    with panel.hold_sync():
        panel.cluster, panel.scopes, panel.refusal, panel.summary = text, [text, text], "", text
        panel.columns, panel.identities, panel.legend = [column], [[text, text, text]], [cell]
        panel.cells, panel.edited, panel.scope_states, panel.theirs = ["0"], {}, "rx", [text]
        panel.denial, panel.search = {"reason": text, "certain": False, "todo": text}, text
        panel.question = {"text": text, "identity": text, "usage": text, "offers": [[text, text]]}
        panel.preview = {
            "id": text, "cluster": text, "summary": text, "undoes": text, "revokes": 1, "changes": [change],
            "steps": [step], "request": text, "impact": [text], "stops": 1, "warnings": [text],
        }
        panel.progress, panel.status = [{"scope": text, "outcome": text}], {"kind": "error", "text": text, "hint": text}
    panel.refusal = text
"""


def leaks(lab: Lab, panel: Locator) -> list[str]:
    """Return the signs that text to be shown was executed or became an element."""
    lab.page.wait_for_timeout(200)
    found = ["it ran"] if lab.page.evaluate("() => window.ran_in_panel") else []
    elements = panel.locator("img, svg, iframe, script, style, object, embed, video, audio, form, a, base, meta, link")
    return [*found, *elements.evaluate_all("found => found.map((one) => one.outerHTML)")]


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with kqlmi.local.start() as started:
        yield started


@pytest.fixture(scope="module")
def hostile() -> Iterator[LocalCluster]:
    """A cluster whose identities and databases have hostile names, each in a policy."""
    identities = [kqlmi.local.Identity(name) for name in HOSTILE]
    databases = {name.casefold(): name for name in ["Samples", *HOSTILE]}
    with kqlmi.local.start(databases=list(databases.values()), identities=identities) as started:
        policy = kqlmi.Policy.empty()
        for one in identities:
            policy = policy.grant(one.object_id, "ExternalTable")
        with kqlmi.connect(started.url, token=started.token) as session:
            session.apply(session.plan({kqlmi.Scope.database("Samples"): policy}))
        yield started


def test_there_are_many_hostile_texts() -> None:
    assert len(set(HOSTILE)) >= 50


@pytest.mark.parametrize("lab", BOTH, indirect=True)
def test_hostile_names_and_texts_are_shown_and_not_executed(lab: Lab, hostile: LocalCluster) -> None:
    show = f"for text in {HOSTILE!r}:\n    everywhere(panel, text)"
    panel = open_panel(lab, hostile, more=[EVERYWHERE, show])
    scroll = panel.locator(".kqlmi-scroll")
    seen: set[str] = set()
    for place in range(0, 46 * len(HOSTILE) + 440, 300):
        scroll.evaluate("(element, top) => { element.scrollTop = top }", place)
        lab.page.wait_for_timeout(30)
        seen.update(panel.get_by_role("rowheader").locator(".kqlmi-name").all_inner_texts())
    assert seen >= set(HOSTILE)
    for name in HOSTILE[:3]:
        panel.get_by_role("option", name=f"database {name}").click()
        expect(panel.get_by_role("status")).to_be_visible()
    panel.get_by_text("Columns").click()
    assert leaks(lab, panel) == []
    lab.run_cell(3)
    lab.run_cell(4)
    assert leaks(lab, panel) == []


def test_the_search_for_hostile_texts_can_fail(lab: Lab, cluster: LocalCluster) -> None:
    mutant = """
panel._esm = panel._esm.replace('make("p", { textContent })', 'make("p", { innerHTML: textContent })')
panel
"""
    open_panel(lab, cluster, more=[mutant, f"panel.status = {{'text': {HOSTILE[0]!r}}}"])
    lab.run_cell(3)
    panel = lab.output(3).locator(".kqlmi")
    expect(panel.get_by_role("gridcell")).not_to_have_count(0)
    lab.run_cell(4)
    assert "it ran" in leaks(lab, panel)


def violations(panel: Locator) -> list[tuple[str, list[Any]]]:
    """Return the axe-core violations of the panel, by the rules of WCAG 2.2 AA and of good practice."""
    options = {
        "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
        "resultTypes": ["violations"],  # of what passes, only the rules and not every element
    }
    found = Axe().run(panel.page, context=".kqlmi", options=options).response
    assert len(found["passes"]) > 15
    return [(rule["id"], [node["html"][:200] for node in rule["nodes"]]) for rule in found["violations"]]


@pytest.mark.parametrize("lab", BOTH, indirect=True)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_in_any_state(lab: Lab, cluster: LocalCluster, *, dark: bool) -> None:
    token = cluster.token_for("viewer", database="Samples")
    panel = open_panel(lab, cluster)
    lab.set_theme(dark=dark)
    theme = f"{lab.front}-{'dark' if dark else 'light'}"

    def check(state: str) -> None:
        lab.screenshot(f"{theme}-{state}")
        assert violations(panel) == [], state

    check("open")
    # axe does not check placeholders: they have the colour of the text, and most of its opacity.
    style = "box => [getComputedStyle(box).color, getComputedStyle(box, '::placeholder').color]"
    ink, placeholder = panel.get_by_label("Object ID of another identity").evaluate(style)
    assert placeholder == ink
    box(panel, "mi-adx-ingest: NativeIngestion").uncheck()
    box(panel, "mi-adx-export: AutomatedFlows").check()
    press(panel, "Preview")
    expect(panel.get_by_role("button", name="Execute")).to_be_enabled()
    check("preview")
    press(panel, "Execute")
    expect(panel.get_by_text("This plan contains 1 revoke. Execute it?")).to_be_visible()
    check("confirm")
    press(panel, "Yes, execute 1 revoke")
    expect(panel.get_by_role("status")).to_contain_text("Applied and verified")
    check("applied")
    if lab.front == "notebook":
        return  # the other states are drawn by the same code, and tested in JupyterLab
    box(panel, "kqlmi-local: ExternalTable").click()
    expect(panel.get_by_role("group", name="Question")).to_be_visible()
    panel.get_by_text("Columns").click()
    check("question")
    panel.get_by_text("Columns").click()
    with kqlmi.connect(cluster.url, token=cluster.token) as writer:
        box(panel, "mi-adx-export: SqlRequest").check()
        writer.apply(writer.grant("mi-adx-export", "AzureAI", databases=["Samples"]))
    press(panel, "Preview")
    expect(panel.get_by_text("Others changed the policies since they were read")).to_be_visible()
    check("theirs")
    panel.get_by_role("option", name="all scopes").click()
    expect(panel.get_by_role("button", name="everywhere").first).to_be_visible()
    check("all-scopes")
    panel.get_by_label("Object ID of another identity").fill("no object ID")
    press(panel, "Add a row")
    expect(panel.get_by_role("status")).to_contain_text("neither a GUID")
    check("error")
    panel = open_panel(lab, cluster, token=token)
    expect(panel.get_by_role("alert")).to_contain_text("Read-only")
    check("read-only")
    panel.get_by_role("option", name="cluster").click()
    expect(panel).to_contain_text("Not read:")
    check("not-read")
    lab.restart_kernel()
    expect(panel.get_by_role("alert")).to_contain_text("The kernel does not respond")
    check("no-kernel")


def test_the_search_for_violations_can_fail(lab: Lab, cluster: LocalCluster) -> None:
    panel = open_panel(lab, cluster)
    panel.get_by_role("listbox").evaluate("list => { list.ariaLabel = null }")
    panel.get_by_label("Rows").evaluate("list => { list.ariaLabel = null }")
    assert {rule for rule, _ in violations(panel)} >= {"select-name"}


def place(panel: Locator) -> float:
    """Return the distance from the top of the panel to its buttons, in pixels."""
    boxes = [locator.bounding_box() for locator in (panel, panel.locator(".kqlmi-change"))]
    top, below = (found["y"] for found in boxes if found)
    return below - top


def test_the_panel_fits_any_width_and_nothing_jumps(lab: Lab, cluster: LocalCluster) -> None:
    panel = open_panel(lab, cluster)
    panel.evaluate("element => { element.style.marginBottom = '900px' }")
    lab.page.evaluate(
        "() => { window.shifts = []; new PerformanceObserver((list) => {"
        " for (const entry of list.getEntries())"
        "  for (const source of entry.sources)"
        "   if (source.node?.closest?.('.kqlmi')) window.shifts.push(source.node.className) })"
        " .observe({ type: 'layout-shift', buffered: false }) }"
    )
    for width in (320, 600, 1100, 1900):
        panel.evaluate("(element, width) => { element.parentElement.style.width = `${width}px` }", width)
        lab.page.wait_for_timeout(300)
        wider = panel.evaluate(
            "(element) => [...element.querySelectorAll('*')].filter((one) => !one.closest('.kqlmi-scroll')"
            " && one.getBoundingClientRect().right > element.getBoundingClientRect().right + 1)"
            ".map((one) => one.className)"
        )
        assert wider == [], width
        # All usages are visible at once, except on a phone.
        hidden = panel.locator(".kqlmi-scroll").evaluate("scroll => scroll.scrollWidth - scroll.clientWidth")
        assert hidden == 0 or width == 320, width
        lab.page.evaluate("() => { window.shifts = [] }")
        before = place(panel)
        box(panel, "mi-adx-ingest: SqlRequest").check()
        expect(panel.get_by_role("status")).to_contain_text("enables")
        panel.get_by_role("searchbox", name="Search identities").fill("export")
        expect(panel.get_by_role("rowheader")).to_have_count(1)
        panel.get_by_role("searchbox", name="Search identities").fill("")
        box(panel, "mi-adx-ingest: SqlRequest").uncheck()
        expect(panel.get_by_text("No change.")).to_be_visible()
        assert place(panel) == before
        assert lab.page.evaluate("() => window.shifts") == [], width
        lab.screenshot(f"width-{width}")


@pytest.fixture(scope="module")
def large() -> Iterator[LocalCluster]:
    """A cluster of 1,000 identities, all in the policy of Samples, and 60 databases."""
    # A search also matches object IDs, so random ones would occasionally contain the searched text.
    ids = [f"aaaaaaaa-aaaa-4aaa-8aaa-{n:012}" for n in range(1000)]
    identities = [kqlmi.local.Identity(f"identity {n:04}", one) for n, one in enumerate(ids)]
    names = ["Samples", *(f"D{n}" for n in range(59))]
    with kqlmi.local.start(databases=names, identities=identities) as started:
        entries = [{"ObjectId": one.object_id, "AllowedUsages": "ExternalTable, SqlRequest"} for one in identities]
        with kqlmi.connect(started.url, token=started.token) as session:
            session.run(f".alter database ['Samples'] policy managed_identity '{json.dumps(entries)}'")
        yield started


def test_a_thousand_identities_are_searched_filtered_scrolled_and_ticked(lab: Lab, large: LocalCluster) -> None:
    panel = open_panel(lab, large)
    expect(panel.get_by_role("grid")).to_have_attribute("aria-rowcount", "1001")
    assert panel.get_by_role("row").count() < 25
    first = box(panel, "identity 0000: NativeIngestion")
    first.focus()
    lab.page.keyboard.press("Control+End")
    expect(box(panel, "identity 0999: All")).to_be_focused()
    assert panel.get_by_role("row").count() < 25
    lab.page.keyboard.press("Home")
    lab.page.keyboard.press("Space")
    expect(panel.locator(".kqlmi-change")).to_contain_text("1 to grant")
    expect(box(panel, "identity 0999: NativeIngestion")).to_be_focused()
    # The row keeps the focus when scrolled out of view: the next key continues from it.
    panel.locator(".kqlmi-scroll").evaluate("element => { element.scrollTop = 0 }")
    expect(first).to_be_visible()
    lab.page.keyboard.press("ArrowUp")
    expect(box(panel, "identity 0998: NativeIngestion")).to_be_focused()
    panel.get_by_label("Rows").select_option("changed here")
    expect(panel.get_by_role("rowheader")).to_have_text(["identity 0999" + object_id(large, "identity 0999")])
    panel.get_by_label("Rows").select_option("all identities")
    panel.get_by_role("searchbox", name="Search identities").fill("identity 051")
    expect(panel.get_by_text(re.compile(r"^1\d of 1000 identities"))).to_be_visible()
    panel.get_by_role("searchbox", name="Search identities").fill("")
    panel.get_by_label("Order").select_option("most usages first")
    expect(panel.get_by_role("rowheader").first).to_contain_text("identity 0999")
    places = panel.get_by_role("row").evaluate_all("rows => rows.map((row) => Number(row.ariaRowIndex))")
    assert places == sorted(places)  # in the order in which a screen reader reads them
    panel.get_by_role("searchbox", name="Search scopes").fill("d58")
    lab.page.keyboard.press("ArrowDown")
    lab.page.keyboard.press("ArrowDown")
    lab.page.keyboard.press("Enter")
    expect(panel.get_by_role("option", name="database D58")).to_have_attribute("aria-selected", "true")
    lab.screenshot("a-thousand-identities")
