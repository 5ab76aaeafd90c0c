"""A usage is named by its own name, or by the title or ID of a workflow that needs it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqlmi.errors import PolicyError
from kqlmi.model.usages import USAGES
from kqlmi.model.vocabulary import checked_usage, expanded, named_usage
from kqlmi.model.workflows import WORKFLOWS

TERMS = {
    **{term: row.usage for row in WORKFLOWS for term in (row.id, row.title)},
    **{row.name: row.name for row in USAGES},
}


def test_no_two_terms_differ_in_letter_case_alone() -> None:
    assert len({term.casefold() for term in TERMS}) == len(TERMS)


@pytest.mark.parametrize(("term", "usage"), TERMS.items())
def test_every_term_names_its_usage_in_any_letter_case(term: str, usage: str) -> None:
    for text in (term, term.upper(), f" {term.lower()} "):
        assert checked_usage(text) == named_usage(text) == usage
        assert named_usage(expanded(text)) == usage


@given(st.sampled_from(sorted(TERMS)), st.integers(0, 40))
def test_a_beginning_expands_only_to_the_one_usage_whose_terms_begin_so(term: str, length: int) -> None:
    start = term[:length].casefold()
    usages = {usage for one, usage in TERMS.items() if one.casefold().startswith(start)}
    found = expanded(start)
    if found != start:
        assert usages == {found}
        assert found not in {"All", "SandboxArtifacts"}
    elif len(usages) == 1 and start.strip():
        assert usages <= {"All", "SandboxArtifacts"} or start.strip() in {one.casefold() for one in TERMS}


@pytest.mark.parametrize("text", ["", " ", "al", "sandbox", "e", "external", "export"])
def test_what_is_ambiguous_or_allows_too_much_is_not_expanded(text: str) -> None:
    assert expanded(text) == text


def test_a_usage_that_is_in_use_takes_precedence_over_the_terms_of_workflows() -> None:
    """A policy can hold a usage that is spelt as a workflow's title is: it stays what it is."""
    for text in ("Update policy", "Auto"):
        assert expanded(text, {text}) == named_usage(text, {text}) == checked_usage(text, {text}) == text


@pytest.mark.parametrize(
    ("text", "hint"),
    {
        "continous export": "Did you mean AutomatedFlows (Continuous export)?",
        "ExternalTables": "Did you mean ExternalTable?",
        "python plugin": "Did you mean SandboxArtifacts (External artifacts of the python plugin)?",
        "event hub": "Did you mean DataConnection (Event Hubs data connection)?",
        "native": "Did you mean NativeIngestion?",
        "al": "Did you mean All?",
        "FutureFlows": "Did you mean FutureFlow?",
    }.items(),
)
def test_an_unknown_usage_is_refused_with_the_nearest_of_all_terms(text: str, hint: str) -> None:
    with pytest.raises(PolicyError, match="is not known") as caught:
        checked_usage(text, {"FutureFlow"})
    assert caught.value.hint == hint


def test_a_suggestion_names_every_usage_whose_terms_contain_the_words() -> None:
    with pytest.raises(PolicyError) as caught:
        checked_usage("external")
    named = "ExternalTable or ExternalDataRequest or SandboxArtifacts (External artifacts of the python plugin)"
    assert caught.value.hint == f"Did you mean {named}?"


@pytest.mark.parametrize("text", ["", "hunter2", "*", "Everything"])
def test_without_a_likeness_the_hint_lists_the_usages(text: str) -> None:
    with pytest.raises(PolicyError) as caught:
        checked_usage(text, {"FutureFlow"})
    assert caught.value.hint.startswith("Known: NativeIngestion, ")
    assert caught.value.hint.endswith(", FutureFlow.")
