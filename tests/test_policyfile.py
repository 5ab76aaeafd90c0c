"""Tests of policy files: an export plans nothing, an edit is reached, and a rewrite touches nothing else."""

import contextlib
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kqlmi import policyfile
from kqlmi.errors import InputError
from kqlmi.model.entities import Scope, known_usage, object_id
from kqlmi.model.plan.builder import make_plan
from kqlmi.model.policy.entry import Entry
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.policyfile import PolicyFileError, edits, nodes
from tests.model.policy.test_policy import EXPORTER, EXTRAS, FUTURE, KNOWN, LOADER, parsed
from tests.work import grows_no_faster_than_its_input

OWN = "99999999-2222-3333-4444-555555555555"
CLUSTER, SAMPLES = Scope.cluster(), Scope.database("Samples")

TRAPS = [
    *(
        "on",
        "null",
        "~",
        "none",
        "1.0",
        "2020-01-01",
        "0x1F",
        "1e5",
        "all",
        "mode",
        "system",
        " System ",
        "<<",
        "=",
        "*",
    ),
    *(
        "- a",
        "a: b",
        "a #b",
        "#",
        "&a",
        "*a",
        "!t",
        "%",
        "@",
        "`",
        "[",
        "{}",
        "|",
        ">",
        "'",
        '"',
        "\\",
        "? k",
        "---",
        "...",
    ),
    *(
        "\t",
        "\n",
        "\r\n",
        "\x7f",
        "\x85",
        "\u2028",
        "\ufeff",
        "\ud800",
        "\U0001f600",
        "\U000e0001",
        " lead",
        "trail ",
        "\x00",
    ),
    *(LOADER, LOADER.upper(), EXPORTER, "Straße", "STRASSE", "loader", "LOADER", f"loader-{LOADER[:8]}"),
]
NAMES = st.sampled_from(TRAPS) | st.text(st.characters(), min_size=1, max_size=8)
IDS = st.sampled_from([LOADER, EXPORTER, OWN]) | st.uuids().map(str)


def objects(*, hostile: bool, extras: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, object]]:
    """Return a strategy for policy objects; hostile ones contradict each other about the system identity."""
    usages = st.lists(KNOWN | FUTURE | KNOWN.map(str.upper), max_size=4)
    ids = (IDS | st.just("system")) if hostile else st.sampled_from([LOADER, EXPORTER, OWN, "system"])
    return st.builds(
        lambda identity, usages, name, client, system, extra: {
            "ObjectId": identity,
            "AllowedUsages": ",".join(usages),
            "DisplayName": name if hostile else {LOADER: "loader", EXPORTER: "exporter"}.get(identity, ""),
            "ClientId": client if hostile else "",
            "IsSystem": system if hostile else identity == OWN,
            **extra,
        },
        *(ids, usages, st.just("") | NAMES, st.just("") | IDS, st.booleans(), extras),
    )


def snapshots(policies: st.SearchStrategy[Policy]) -> st.SearchStrategy[Snapshot]:
    scopes = st.just(CLUSTER) | NAMES.map(Scope.database)
    return st.dictionaries(scopes, st.none() | st.just(Policy.empty()) | policies, max_size=4).map(Snapshot)


def policies_of(one: st.SearchStrategy[dict[str, object]]) -> st.SearchStrategy[Policy]:
    return st.lists(one, max_size=4).map(json.dumps).map(parsed)


ANY = snapshots(policies_of(objects(hostile=True, extras=EXTRAS)))
PLAIN = policies_of(objects(hostile=False, extras=st.just({})))
PAIRS = st.dictionaries(
    st.just(CLUSTER) | NAMES.map(Scope.database),
    st.tuples(*[st.none() | st.just(Policy.empty()) | PLAIN] * 2),
    max_size=4,
).map(lambda pairs: tuple(Snapshot({scope: pair[side] for scope, pair in pairs.items()}) for side in (0, 1)))


def databases(snapshot: Snapshot) -> list[str]:
    return [scope.name for scope in snapshot.policies if scope.name is not None]


def applied(text: str, current: Snapshot) -> Snapshot:
    """Return the policies after the plan of a file, computed from the plan's own steps."""
    desired = policyfile.read(text).desired(current, databases(current)).snapshot
    for step in make_plan(current, desired, exactly=True).steps:
        current = current.with_policy(step.scope, step.after)
    return current


def meaning(snapshot: Snapshot) -> dict[Scope, object]:
    return {scope: policy and policy.grants for scope, policy in snapshot.policies.items()}


def planned(text: str, current: Snapshot) -> str:
    desired = policyfile.read(text).desired(current, databases(current)).snapshot
    return str(make_plan(current, desired, cluster="local", exactly=True))


@given(ANY, NAMES)
def test_an_exported_file_plans_nothing(snapshot: Snapshot, cluster: str) -> None:
    text = policyfile.export(snapshot, cluster=cluster)
    desired = policyfile.read(text).desired(snapshot, databases(snapshot))
    assert desired.snapshot == snapshot
    assert make_plan(snapshot, desired.snapshot, exactly=True).steps == ()
    assert set(desired.unmanaged) <= {CLUSTER}


@given(ANY)
def test_an_export_is_text_that_any_disk_can_hold(snapshot: Snapshot) -> None:
    text = policyfile.export(snapshot)
    assert policyfile.read(text.encode()).desired(snapshot, databases(snapshot)).snapshot == snapshot
    assert text.isprintable() or all(char.isprintable() or char == "\n" for char in text)


@given(ANY)
def test_an_export_survives_an_update_with_the_same_policies_to_the_byte(snapshot: Snapshot) -> None:
    text = policyfile.export(snapshot)
    assert policyfile.update(text, snapshot) == text


@given(PAIRS)
def test_a_file_is_reached_by_its_plan_from_anywhere(pair: tuple[Snapshot, Snapshot]) -> None:
    current, wanted = pair
    text = policyfile.export(wanted)
    reached = applied(text, current)
    assert meaning(reached) == meaning(wanted)
    assert planned(text, reached) == "Nothing to do on local."
    assert meaning(applied(policyfile.export(reached), current)) == meaning(wanted)


@given(PAIRS)
def test_an_updated_file_matches_the_cluster(pair: tuple[Snapshot, Snapshot]) -> None:
    before, now = pair
    text = policyfile.update(policyfile.export(before), now)
    assert planned(text, now) == "Nothing to do on local."
    assert policyfile.update(text, now) == text


@given(PLAIN, PLAIN, st.sets(st.sampled_from([LOADER, EXPORTER, "system"]), min_size=1))
def test_a_partial_file_governs_its_identities_and_no_other(now: Policy, wanted: Policy, governed: set[str]) -> None:
    lines = [f"    {one}: {edits.flow(sorted(wanted.usages(one)))}" for one in sorted(governed)]
    unknown = edits.flow(sorted({usage for _, usage in wanted.grants}))
    text = "\n".join(
        ["kqlmi: 1", "mode: partial", f"unknown-usages: {unknown}", "databases:", "  Samples:", *lines, ""]
    )
    reached = applied(text, Snapshot({SAMPLES: now}))
    after = reached.grants(SAMPLES)
    assert {grant for grant in after if grant[0] in governed} == {g for g in wanted.grants if g[0] in governed}
    assert {grant for grant in after if grant[0] not in governed} == {g for g in now.grants if g[0] not in governed}
    assert planned(policyfile.update(text, reached), reached) == "Nothing to do on local."
    assert planned(policyfile.update(text, Snapshot({SAMPLES: now})), Snapshot({SAMPLES: now})).startswith("Nothing")


def row(draw: st.DrawFn, identity: str, usages: list[str], indent: str) -> list[str]:
    """Draw the lines of one identity in one of the usual layouts, with comments wherever they are allowed."""
    key, words = f'{indent}"{identity}"', [edits.scalar(usage) for usage in usages]
    layouts = [
        [f"{key}:   [ {' , '.join(words)} ]  # {identity}"],
        [f"{key}: # {identity}", *(f"{indent}- {word}  # {word}" for word in words)],
        [f"{key}: [", *(f"{indent}  {word},  # {word}" for word in words), f"{indent}  ]"],
        [f"{key}:", f"{indent}  usages:", *(f"{indent}  - {word}" for word in words)],
    ]
    return [f"{indent}# keep: {identity}", *draw(st.sampled_from(layouts if usages else layouts[:1]))]


def section(draw: st.DrawFn, key: str, policy: Policy | None, indent: str) -> list[str]:
    """Draw the lines of one scope."""
    entries = policy.entries if policy else ()
    held = {entry.identity: sorted(policy.usages(entry.identity)) if policy else [] for entry in entries}
    head = [f"{indent}# keep: above", f"{indent}{key}:   # keep: beside"]
    spread: bool = draw(st.booleans())
    if held and spread:
        return head + [line for one, usages in held.items() for line in row(draw, one, usages, indent + "   ")]
    flow = f"{{{', '.join(f'{one}: {edits.flow(usages)}' for one, usages in held.items())}}}"
    return [head[0], f"{indent}{key}: {'none' if policy is None else flow}   # keep: beside"]


@st.composite
def styled(draw: st.DrawFn) -> tuple[str, Snapshot]:
    """Draw a hand-written file in any layout, and the policies that it states."""
    names = draw(st.lists(NAMES.map(Scope.database), min_size=1, max_size=3, unique=True))
    wanted = {scope: draw(st.none() | PLAIN) for scope in [CLUSTER, *names]}
    lines = ["# keep: head", "kqlmi: 1 # keep", *section(draw, "cluster", wanted[CLUSTER], ""), "mode:   'complete'"]
    unknown = {usage for policy in wanted.values() if policy for _, usage in policy.grants if not known_usage(usage)}
    lines += [f"unknown-usages: {edits.flow(sorted(unknown))}", "", "databases:   # keep: databases"]
    for scope in names:
        lines += [*section(draw, edits.scalar(str(scope.name)), wanted[scope], "  "), ""]
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    return newline.join([*lines, "# keep: tail"]) + draw(st.sampled_from(["", newline])), Snapshot(wanted)


@given(styled(), st.data())
def test_a_rewrite_keeps_every_comment_and_every_line_that_did_not_change(
    file: tuple[str, Snapshot], data: st.DataObject
) -> None:
    text, wanted = file
    assert policyfile.update(text, wanted) == text
    now = Snapshot({scope: data.draw(st.none() | PLAIN) for scope in wanted.policies})
    result = policyfile.update(text, now)
    assert planned(result, now) == "Nothing to do on local."
    assert policyfile.update(result, now) == result
    assert re.findall(r"# keep.*", result) == re.findall(r"# keep.*", text)
    same = Snapshot({scope: now.policies[scope] for scope in list(now.policies)[:1]})
    partly = policyfile.update(text, same)
    assert meaning(applied(partly, wanted)) == {**meaning(wanted), **meaning(same)}


@given(st.text(st.characters(), max_size=20) | NAMES)
def test_a_scalar_reads_back_as_itself_and_is_on_one_line(text: str) -> None:
    assume(text)
    written = edits.scalar(text)
    assert nodes.parse(f"{written}: [{written}]").items[0].text == text
    assert nodes.parse(f"a: {{{written}: {written}}}").items[1].items[1].text == text
    assert len(written.splitlines()) == 1


@given(st.binary(max_size=60) | st.text(st.characters(), max_size=60))
def test_garbage_is_refused_and_never_crashes(document: str | bytes) -> None:
    with pytest.raises(PolicyFileError):
        policyfile.read(document)


@given(PLAIN, st.data())
def test_a_file_cut_anywhere_is_refused_or_means_no_more_than_its_whole_lines(
    policy: Policy, data: st.DataObject
) -> None:
    text = policyfile.export(Snapshot({CLUSTER: policy, SAMPLES: policy}))
    half = text[: data.draw(st.integers(0, len(text)))]
    with contextlib.suppress(PolicyFileError):
        file = policyfile.read(half)
        assert set(file.sections) <= {CLUSTER, SAMPLES}
        assert all(part in text.splitlines() for part in half.splitlines()[:-1])


HEAD = "kqlmi: 1\nmode: complete\n"


def test_a_name_in_the_escapes_of_json_is_the_character_that_they_write() -> None:
    name = "\U0001f600"
    file = policyfile.read(f"{HEAD}databases: {json.dumps({name: {}})}\n")
    assert Scope.database(name) in file.scopes([name])


NOW = Snapshot(
    {CLUSTER: None, SAMPLES: parsed(f'[{{"ObjectId":"{LOADER}","AllowedUsages":"All","DisplayName":"loader"}}]')}
)


@pytest.mark.parametrize(
    ("text", "line", "culprit"),
    [
        ("", None, "is empty"),
        ("# nothing\n", None, "is empty"),
        ("hello", 1, "'hello', not a mapping"),
        ("mode: complete\ndatabases: {}", 1, "the key kqlmi is missing"),
        ("kqlmi: 2\nfuture: [", 2, "not YAML"),
        ("kqlmi: 2\nfuture: 1\n", 1, "format 2 is newer"),
        ("kqlmi: one\n", 1, "'one' is not a version of the format"),
        ("kqlmi: 1\n", 1, "neither cluster: nor databases:"),
        ("kqlmi: 1\ndatabases: {}\n", 1, "the key mode is missing"),
        ("kqlmi: 1\nmode: whole\ndatabases: {}\n", 2, "'whole'"),
        (HEAD + "databases: all\n", 3, "unlisted-databases: none"),
        (HEAD + "databases: {}\nunlisted-databases: all\n", 4, "'all'"),
        ("kqlmi: 1\nmode: partial\ndatabases: {}\nunlisted-databases: none\n", 4, "mode: partial"),
        ("kqlmi: 1\nmode: partial\ncluster: none\n", 3, "mode: partial"),
        (HEAD + "database: {}\ncluster: {}\n", 3, "Did you mean databases?"),
        (HEAD + "cluster: {}\nmode: complete\n", 4, "'mode' occurs twice"),
        (HEAD + "cluster:\n", 3, "has no value"),
        (HEAD + "cluster: null\n", 3, "'null', not a mapping"),
        (HEAD + "databases:\n  Samples: {}\n  sAMPLES: none\n", 5, "'sAMPLES' occurs twice"),
        (HEAD + 'databases:\n  "": {}\n', 4, "is empty"),
        (HEAD + "cluster:\n  system: All\n", 4, "'All', not a list"),
        (HEAD + "cluster:\n  system: [[All]]\n", 4, "not a sequence"),
        (HEAD + "cluster:\n  system: [All, aLL]\n", 4, "'aLL' occurs twice"),
        (HEAD + "cluster:\n  system:\n  - All\n  -\n", 6, "is empty"),
        (HEAD + 'cluster:\n  system: ["All, SqlRequest"]\n', 4, "not a single usage"),
        (HEAD + "cluster:\n  system: {usage: [All]}\n", 4, "'usage'"),
        (HEAD + "cluster:\n  system: {properties: {}}\n", 4, "no usages"),
        (HEAD + "cluster:\n  system:\n    usages: [All]\n    properties: {a: 1}\n", 6, "not JSON"),
        (HEAD + 'cluster:\n  system:\n    usages: [All]\n    properties: {"ObjectId": 1}\n', 6, "'ObjectId'"),
        (HEAD + "cluster:\n  system:\n    usages: [All]\n    properties:\n      a: 1\n", 7, "not JSON"),
        (HEAD + f"cluster:\n  {LOADER}: []\n  {LOADER.upper()}: []\n", 5, "occurs twice"),
        (HEAD + f"identities:\n  a: {LOADER}\ncluster:\n  A: []\n  {LOADER}: []\n", 7, "also as 'A'"),
        (HEAD + f"identities:\n  a: {LOADER}\n  b: {LOADER}\ncluster:\n  a: []\n  b: []\n", 8, "occurs twice"),
        (HEAD + "identities:\n  a: b\ncluster: {}\n", 4, "'b' is not an object ID"),
        (HEAD + f"identities:\n  System: {LOADER}\ncluster: {{}}\n", 4, "'System'"),
        (HEAD + f"identities:\n  {EXPORTER}: {LOADER}\ncluster: {{}}\n", 4, EXPORTER),
        (HEAD + "cluster: &a {}\n", 3, "anchors"),
        (HEAD + "cluster: *a\n", 3, "anchors"),
        (HEAD + "cluster: !x {}\n", 3, "tags"),
        (HEAD + "cluster:\n  !!str system: []\n", 4, "tags"),
        (HEAD + "cluster: |\n  none\n", 3, "several lines"),
        (HEAD + "cluster:\n  system\n  loader: [All]\n", 4, "several lines"),
        (HEAD + 'databases:\n  {"a\n  b": none}\n', 4, "several lines"),
        (HEAD + "databases:\n  {a\x85b: none}\n", 4, "several lines"),
        (HEAD + "cluster: {}\n---\na: b\n", 4, "second document"),
        ("%YAML 1.1\n---\n" + HEAD + "cluster: {}\n", 2, "directive"),
        (HEAD + "cluster:\n\tsystem: [All]\n", 4, "Replace the tab with spaces"),
        (HEAD + "cluster:\n  system: [All\n", 4, "not YAML"),
        (HEAD + "cluster:\n  'system: [All]\n", 4, "not YAML"),
        (HEAD + "cluster:\n  system: [\x01]\n", 4, "is not allowed"),
        (HEAD + 'cluster:\n  "\\U00110000": []\n', None, "not YAML"),
        (HEAD + "cluster:\n  ? [a]\n  : []\n", 4, "a single value"),
        ("[" * 200_000, 1, "deeper"),
        (HEAD + "# " + "x" * 4_000_000, None, "longer than"),
        (b"kqlmi: 1\n# caf\xe9\n", 2, "0xe9 is not UTF-8"),
        ("kqlmi: 1\n".encode("utf-16"), 1, "Save the file as UTF-8"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str | bytes, line: int | None, culprit: str) -> None:
    with pytest.raises(PolicyFileError, match=re.escape(culprit)) as caught:
        policyfile.read(text)
    assert caught.value.line == line
    assert isinstance(caught.value, InputError)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "line", "culprit"),
    [
        ("databases:\n  Sample: {}\n", 4, "database 'Sample' does not exist. Did you mean Samples?"),
        ("cluster:\n  system: [ExternalTables]\n", 4, "Did you mean ExternalTable?"),
        ("cluster:\n  system:\n    - All\n    - FutureFlow\n", 6, "unknown-usages:"),
        ("cluster:\n  exporter: [All]\n", 4, "'exporter'"),
        (f"databases:\n  Samples:\n    loader: []\n    {LOADER}: []\n", 6, "also as 'loader'"),
    ],
)
def test_a_mistake_that_only_the_cluster_shows_is_named_with_its_line(text: str, line: int, culprit: str) -> None:
    with pytest.raises(PolicyFileError, match=re.escape(culprit)) as caught:
        policyfile.read(HEAD + text).desired(NOW, ["Samples"])
    assert caught.value.line == line


def test_a_scope_that_was_not_read_is_never_planned() -> None:
    with pytest.raises(PolicyFileError, match="Line 3: the policy of the cluster was not read"):
        policyfile.read(HEAD + "cluster: {}\n").desired(Snapshot({}), [])


def test_a_display_name_that_several_have_is_refused_and_both_are_shown() -> None:
    entries = tuple(Entry(one, ("All",), display_name="loader") for one in (object_id(LOADER), object_id(EXPORTER)))
    now = Snapshot({SAMPLES: Policy(entries)})
    with pytest.raises(PolicyFileError, match=f"Line 5: .*{LOADER}.*{EXPORTER}"):
        policyfile.read(HEAD + "databases:\n  Samples:\n    loader: [All]\n").desired(now, ["Samples"])


def test_a_client_id_is_not_taken_for_an_object_id() -> None:
    now = Snapshot({SAMPLES: Policy((Entry(object_id(LOADER), ("All",), client_id=EXPORTER, display_name="loader"),))})
    with pytest.raises(PolicyFileError, match="client ID of loader"):
        policyfile.read(HEAD + f"databases:\n  Samples:\n    {EXPORTER}: [All]\n").desired(now, ["Samples"])


def test_an_object_id_is_never_read_as_a_display_name() -> None:
    trap = Entry(object_id(EXPORTER), ("All",), display_name=LOADER)
    file = policyfile.read(HEAD + f"databases:\n  Samples:\n    {LOADER}: [SqlRequest]\n")
    desired = file.desired(Snapshot({SAMPLES: Policy((trap,))}), ["Samples"])
    assert desired.snapshot.grants(SAMPLES) == {(LOADER, "SqlRequest")}


def test_the_system_identity_is_known_by_its_own_object_id_too() -> None:
    now = Snapshot({SAMPLES: Policy((Entry(object_id(OWN), ("All",), is_system=True),)), CLUSTER: None})
    text = HEAD + f"cluster:\n  {OWN}: [SqlRequest]\ndatabases:\n  Samples:\n    {OWN.upper()}: [All]\n"
    desired = policyfile.read(text).desired(now, ["Samples"]).snapshot
    assert desired.grants(CLUSTER) == {("system", "SqlRequest")}
    assert desired.policies[SAMPLES] == now.policies[SAMPLES]


def test_an_unlisted_database_is_reported_and_left_alone() -> None:
    file = policyfile.read(HEAD + "databases:\n  Samples: {}\n")
    assert file.scopes(["SAMPLES", "Other"]) == (SAMPLES,)
    assert str(file.scopes(["SAMPLES", "Other"])[0]) == "database SAMPLES"
    desired = file.desired(NOW, ["SAMPLES", "Other"])
    assert desired.snapshot.policies == {SAMPLES: Policy.empty()}
    assert desired.unmanaged == (CLUSTER, Scope.database("Other"))


def test_unlisted_databases_lose_their_policies_if_the_file_says_so() -> None:
    file = policyfile.read(HEAD + "unlisted-databases: none\ncluster: none\n")
    assert file.scopes(["Samples"]) == (CLUSTER, SAMPLES)
    desired = file.desired(NOW, ["Samples"])
    assert desired.snapshot.policies == {CLUSTER: None, SAMPLES: None}
    assert desired.unmanaged == ()


def test_an_update_lists_an_unlisted_database_only_if_the_file_governs_it() -> None:
    text = HEAD + "cluster: none\n"
    assert policyfile.update(text, NOW) == text
    governing = HEAD + "unlisted-databases: none\ncluster: none\n"
    assert policyfile.update(governing, NOW) == (
        "kqlmi: 1\nmode: complete\n"
        f"identities:\n  loader: {LOADER}\n"
        "unlisted-databases: none\ncluster: none\n"
        "databases:\n  Samples:\n    loader: [All]\n"
    )


def test_no_policy_and_an_empty_policy_stay_distinct() -> None:
    now = Snapshot({CLUSTER: Policy.empty(), SAMPLES: None})
    text = policyfile.export(now)
    assert "cluster: {}\n" in text
    assert "  Samples: none\n" in text
    swapped = HEAD + "cluster: none\ndatabases:\n  Samples: {}\n"
    assert applied(swapped, now).policies == {CLUSTER: None, SAMPLES: Policy.empty()}


def test_unknown_properties_survive_to_the_last_digit_and_are_dropped_with_a_new_object() -> None:
    policy = parsed(
        '[{"ObjectId":"system","AllowedUsages":"All","Limit":0.10000000000000000000001,"Deep":{"a":["\\u007f"]}}]'
    )
    text = policyfile.export(Snapshot({CLUSTER: policy}))
    assert "0.10000000000000000000001" in text
    assert "\x7f" not in text
    reached = applied(text, Snapshot({CLUSTER: None}))
    assert reached.policies == {CLUSTER: policy}


def test_properties_that_the_file_does_not_name_are_left_alone_and_those_it_changes_are_refused() -> None:
    policy = parsed('[{"ObjectId":"system","AllowedUsages":"All","Note":"a"}]')
    now = Snapshot({CLUSTER: policy})
    reached = applied(HEAD + "cluster:\n  system: [SqlRequest]\n", now)
    assert reached.policies == {CLUSTER: parsed('[{"ObjectId":"system","AllowedUsages":"SqlRequest","Note":"a"}]')}
    changed = HEAD + 'cluster:\n  system: {usages: [All], properties: {"Note": "b"}}\n'
    with pytest.raises(PolicyFileError, match="Line 4: the properties of 'system' differ"):
        applied(changed, now)
    assert policyfile.update(changed, now) == changed.replace('"b"', '"a"')


def test_a_usage_that_the_file_acknowledges_may_be_granted() -> None:
    text = HEAD + "unknown-usages: [FutureFlow]\ncluster:\n  system: [FutureFlow, externaltable]\n"
    assert applied(text, NOW).grants(CLUSTER) == {("system", "FutureFlow"), ("system", "ExternalTable")}


def test_a_file_names_usages_by_the_titles_and_ids_of_workflows_too_but_never_by_beginnings() -> None:
    text = (
        HEAD
        + "cluster:\n  system:\n    - Update policy\n    - Ingestion from storage, queued by a command\n    - sql_request\n"
    )
    wanted = {("system", usage) for usage in ("AutomatedFlows", "NativeIngestion", "SqlRequest")}
    assert applied(text, NOW).grants(CLUSTER) == wanted
    assert policyfile.update(text, Snapshot({CLUSTER: applied(text, NOW).policies[CLUSTER]})) == text
    with pytest.raises(PolicyFileError, match="AutomatedFlows"):
        applied(HEAD + "cluster:\n  system: [Automated]\n", NOW)
    with pytest.raises(PolicyFileError, match="AutomatedFlows"):
        applied(HEAD + "cluster:\n  system: [Update policy, AutomatedFlows]\n", NOW)


def test_identities_with_the_same_display_name_get_distinct_names() -> None:
    entries = tuple(Entry(object_id(one), ("All",), display_name="loader") for one in (LOADER, EXPORTER))
    text = policyfile.export(Snapshot({CLUSTER: Policy(entries)}))
    assert f"  loader-11111111: {LOADER}\n  loader-aaaaaaaa: {EXPORTER}\n" in text


def test_a_name_of_another_identity_is_not_reused() -> None:
    names = {LOADER: "loader", EXPORTER: "loader", OWN: f"loader-{LOADER[:8]}"}
    entries = tuple(Entry(object_id(one), ("All",), display_name=name) for one, name in names.items())
    text = policyfile.export(Snapshot({CLUSTER: Policy(entries)}))
    assert f"  loader-aaaaaaaa: {EXPORTER}\n  loader-11111111: {OWN}\n" in text
    assert f"cluster:\n  {LOADER}: [All]\n" in text
    named = HEAD + f"identities: {{exporter: {LOADER}}}\ncluster: {{}}\n"
    now = Snapshot({CLUSTER: Policy((Entry(object_id(EXPORTER), ("All",), display_name="exporter"),))})
    assert policyfile.update(named, now) == named.replace(" {}\n", f"\n  {EXPORTER}: [All]\n")


def test_each_policy_states_its_own_system_identity() -> None:
    policies = {SAMPLES: OWN, Scope.database("Old"): EXPORTER}
    now = Snapshot({at: Policy((Entry(object_id(one), ("All",), is_system=True),)) for at, one in policies.items()})
    text = HEAD + f"databases:\n  Samples:\n    {OWN}: [All]\n  Old:\n    {EXPORTER}: [All]\n"
    assert policyfile.read(text).desired(now, databases(now)).snapshot == now


def test_an_identity_without_usages_in_a_partial_file_creates_no_policy() -> None:
    assert applied("kqlmi: 1\nmode: partial\ncluster:\n  system: []\n", NOW) == NOW


def test_several_objects_of_one_identity_are_one_row_with_all_their_properties() -> None:
    twice = '[{"ObjectId":"system","AllowedUsages":"All","A":1},{"ObjectId":"system","AllowedUsages":"SqlRequest","A":2,"B":3}]'
    text = policyfile.export(Snapshot({CLUSTER: parsed(twice)}))
    assert "    usages: [All, SqlRequest]\n" in text
    assert json.loads(text.partition("properties: ")[2].partition("\n")[0]) == {"A": 1, "B": 3}


def test_comments_inside_brackets_go_with_their_usage() -> None:
    head = HEAD + "cluster:\n  system: [\n"
    text = head + "    All,  # a\n    SqlRequest,  # b\n    AzureAI  # c\n  ]\n"
    for kept, left in {
        "All": "    All,  # a\n",
        "SqlRequest": "    SqlRequest,  # b\n",
        "AzureAI": "    AzureAI  # c\n",
    }.items():
        now = Snapshot({CLUSTER: Policy((Entry(object_id("system"), (kept,)),))})
        result = policyfile.update(text, now)
        assert left in result
        assert planned(result, now) == "Nothing to do on local."


def test_a_whole_file_is_rewritten_in_place() -> None:
    text = """\
# Owned by the data platform team.
kqlmi: 1
mode: complete
identities:
  loader: 11111111-2222-3333-4444-555555555555   # nightly

cluster: {}   # nothing here, on purpose
databases:
  # Sales first
  Samples:
    # the loader
    loader:
      - NativeIngestion   # SDK
      - All               # to be tightened
    system: [AutomatedFlows,  ExternalTable]  # flows
  Old: none   # retired

# end
"""
    now = Snapshot(
        {
            CLUSTER: None,
            SAMPLES: Policy(
                (
                    Entry(object_id(LOADER), ("NativeIngestion", "SqlRequest")),
                    Entry(object_id("system"), ("ExternalTable",)),
                    Entry(object_id(EXPORTER), ("ExportRequest",), display_name="exporter"),
                )
            ),
            Scope.database("Old"): parsed('[{"ObjectId":"system","AllowedUsages":"Future"}]'),
        }
    )
    assert (
        policyfile.update(text, now)
        == """\
# Owned by the data platform team.
kqlmi: 1
mode: complete
unknown-usages: [Future]
identities:
  loader: 11111111-2222-3333-4444-555555555555   # nightly
  exporter: aaaaaaaa-2222-3333-4444-555555555555

cluster: none   # nothing here, on purpose
databases:
  # Sales first
  Samples:
    # the loader
    loader:
      - NativeIngestion   # SDK
      - SqlRequest
    system: [ExternalTable]  # flows
    exporter: [ExportRequest]
  Old:   # retired
    system: [Future]

# end
"""
    )


def test_a_json_document_is_a_policy_file_and_stays_one() -> None:
    text = '{"kqlmi": "1", "mode": "complete", "databases": {"Samples": {"system": ["All"]}}}'
    result = policyfile.update(
        text, Snapshot({SAMPLES: parsed('[{"ObjectId":"system","AllowedUsages":"SqlRequest"}]')})
    )
    assert result == text.replace('["All"]', "[SqlRequest]")


def test_a_byte_order_mark_and_windows_line_ends_are_kept() -> None:
    text = "\ufeff" + (HEAD + "databases:\n  Samples: none # x\n").replace("\n", "\r\n")
    result = policyfile.update(text.encode(), NOW)
    assert result.startswith("\ufeffkqlmi: 1\r\n")
    assert result.count("\r\n") == result.count("\n")
    assert "  Samples: # x\r\n    loader: [All]\r\n" in result


def test_a_layout_that_cannot_be_edited_in_place_is_refused_and_kept() -> None:
    text = HEAD + "cluster:\n  ? system  # a: b\n  :\n    - All\n"
    with pytest.raises(PolicyFileError, match="Export to a new file"):
        policyfile.update("kqlmi: 1\nmode: partial\n" + text.removeprefix(HEAD), Snapshot({CLUSTER: Policy.empty()}))


def test_a_large_cluster_is_written_in_linear_time() -> None:
    policy = parsed(json.dumps([{"ObjectId": one, "AllowedUsages": "All, SqlRequest"} for one in (LOADER, EXPORTER)]))

    def updating(size: int) -> Callable[[], object]:
        now = Snapshot({Scope.database(f"Database {number}"): policy for number in range(size)})
        text = policyfile.export(now)
        assert policyfile.update(text, now) == text
        return lambda: policyfile.update(policyfile.export(now), now)

    assert grows_no_faster_than_its_input(updating, 15)
