from __future__ import annotations

import pytest

from agents_app.guardrails import Rule, first_tripped, fold, rules_from


def rule(*phrases: str, index: int = 0) -> Rule:
    return Rule(index, "Emergency", phrases, "Please call 911 now.", True)


@pytest.mark.parametrize(
    "said",
    [
        "I have chest pain",
        "CHEST PAIN!",
        "it's my chest... pain, I mean",
        "a chest \n\t pain",
        "chést-pain",
    ],
)
def test_phrase_is_found_whatever_its_case_accents_punctuation_and_spaces(said: str):
    emergency = rule("chest pain")

    assert first_tripped([emergency], said) == emergency


@pytest.mark.parametrize(
    "said",
    ["the chest painting", "treasurechest pain", "chest and pain", "pain chest", "chest", "", "...", "my chess pain"],
)
def test_phrase_inside_other_words_or_apart_is_not_found(said: str):
    assert first_tripped([rule("chest pain")], said) is None


CANNOT_BREATHE = [
    "can't breathe",
    "cannot breathe",
    "cant breathe",
    "can not breathe",
    "can\N{RIGHT SINGLE QUOTATION MARK}t breathe",
]


@pytest.mark.parametrize("phrase", CANNOT_BREATHE)
@pytest.mark.parametrize("said", CANNOT_BREATHE)
def test_contraction_matches_each_of_its_spellings(phrase: str, said: str):
    assert first_tripped([rule(phrase)], f"Help, I {said}!") is not None


def test_first_rule_in_order_wins():
    first, second = rule("bleeding", index=0), rule("severe bleeding", index=1)

    assert first_tripped([first, second], "severe bleeding") == first
    assert first_tripped([second, first], "severe bleeding") == second


def test_rule_without_a_word_in_its_phrases_never_trips():
    assert first_tripped([rule("", "?!", "   ")], "?! anything at all") is None


def test_a_phrase_is_text_and_no_pattern():
    assert first_tripped([rule(".*", "(a+)+$", "chest.pain")], "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!") is None
    assert first_tripped([rule("(a+)+$")], "a") is not None


def test_rules_are_made_from_frozen_content():
    content = {
        "guardrails": [
            {"name": "A", "phrases": ["one"], "line": "First.", "shows_emergency_number": True},
            {"name": "B", "phrases": ["two", "three"], "line": "Second.", "shows_emergency_number": False},
        ]
    }

    assert rules_from(content) == (
        Rule(0, "A", ("one",), "First.", True),
        Rule(1, "B", ("two", "three"), "Second.", False),
    )


def test_text_of_ten_thousand_characters_is_looked_through_word_by_word():
    # One look-up a word and phrase length: 20,000 phrases that share their first word cost no more than one.
    crowded = rule(*(f"chest {number}" for number in range(20_000)))

    assert first_tripped([crowded], "chest " * 1_700 + "19999") == crowded
    assert first_tripped([crowded], "chest " * 1_700) is None


def test_folding_keeps_words_of_other_scripts():
    assert fold("Je n'ai PAS d'été, σίγμα Ж 7") == "je nai pas dete σιγμα ж 7"
