from __future__ import annotations

import pytest

from sessions_app.call.confirmation import Confirmation, Decision, Pending, Verdict, holds, judge

QUESTION = "I will book a cleaning for Ann Lee on Thursday, November 26 at 10:30 AM. Shall I go ahead?"


def asked(**fields: object) -> Confirmation:
    """A recap that was said with every value and heard at 1000 ms."""
    confirmation = Confirmation()
    pending = Pending("t1", "book", "v1", QUESTION, ("cleaning", "10:30 AM"))
    confirmation.begin(pending)
    confirmation.recap_begun("resp_recap")
    confirmation.recap_said(QUESTION)
    confirmation.recap_heard(1000)
    for name, value in fields.items():
        setattr(pending, name, value)
    return confirmation


@pytest.mark.parametrize(
    "text",
    ["Yes.", "yes please", "Yeah, that's right.", "OK, go ahead!", "Sure, sounds good, thank you"],
)
def test_plain_yes_is_yes(text: str):
    assert judge(text) is Verdict.YES


@pytest.mark.parametrize(
    "text",
    ["No.", "No thanks, not that one", "Yes, but change the time", "Wait", "don't", "actually, Friday", "cancel"],
)
def test_refusing_word_anywhere_is_no_yes(text: str):
    assert judge(text) is Verdict.CHANGE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "...",
        "What time?",
        "Yes, but at eleven",
        "Yes, Monday at 8 AM",
        "Shall I go ahead?",
        "Tell me about parking",
        "hm",
    ],
)
def test_anything_else_is_unclear(text: str):
    assert judge(text) is Verdict.UNCLEAR


def test_verb_that_was_asked_about_refuses_nothing():
    assert judge("yes, cancel it", verb="cancel") is Verdict.YES
    assert judge("no, do not cancel it", verb="cancel") is Verdict.CHANGE
    assert judge("Yes, move it to another time instead", verb="cancel") is Verdict.CHANGE


@pytest.mark.parametrize(
    ("transcript", "piece", "expected"),
    [
        ("At 10:00 a.m. on Thursday", "10:00 AM", True),
        ("at 10 am on thursday", "10:00 AM", True),
        ("at 10:30 AM", "10:00 AM", False),
        ("with Dr. Adams", "Dr. Adams", True),
        ("with Doctor Adamson", "Dr. Adams", False),
        ("für José", "jose", True),
        ("", "cleaning", False),
    ],
)
def test_transcript_holds_a_value_whatever_its_spelling(transcript: str, piece: str, *, expected: bool):
    assert holds(transcript, piece) is expected


def test_yes_after_the_recap_runs_the_same_values_only():
    confirmation = asked()
    confirmation.caller_began("item_1", 1200)
    confirmation.caller_said("item_1", "yes", 2000)

    assert confirmation.decide("book", "v1", 2500) is Decision.RUN
    assert confirmation.decide("book", "v2", 2500) is Decision.ASK
    assert confirmation.decide("cancel", "v1", 2500) is Decision.ASK


def test_yes_begun_before_the_recap_was_heard_counts_for_nothing():
    confirmation = asked()
    confirmation.caller_began("item_1", 999)
    confirmation.caller_said("item_1", "yes", 2000)

    assert confirmation.decide("book", "v1", 2500) is Decision.ASK


def test_yes_is_waited_for_while_it_is_transcribed():
    confirmation = asked()
    confirmation.caller_began("item_1", 1200)

    waiting = confirmation.decide("book", "v1", 2500)
    confirmation.stop_waiting()

    assert (waiting, confirmation.decide("book", "v1", 2500)) == (Decision.WAIT, Decision.ASK)


def test_transcript_that_comes_after_the_wait_is_no_yes():
    confirmation = asked()
    confirmation.caller_began("item_1", 1200)
    confirmation.stop_waiting()

    confirmation.caller_said("item_1", "yes", 2000)

    assert confirmation.decide("book", "v1", 2500) is Decision.ASK


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_cough_beside_a_yes_takes_nothing_from_it(order: tuple[int, int]):
    confirmation = asked()
    confirmation.caller_began("item_1", 1200)
    confirmation.caller_began("item_2", 1800)

    for number in order:
        confirmation.caller_said(f"item_{number}", {1: "", 2: "Yes."}[number], 2000)

    assert confirmation.decide("book", "v1", 2500) is Decision.RUN


def test_cough_alone_is_no_answer_and_the_yes_after_it_counts():
    confirmation = asked()
    confirmation.caller_began("item_1", 1200)
    confirmation.caller_said("item_1", "", 2000)
    alone = confirmation.decide("book", "v1", 2500)

    confirmation.caller_began("item_2", 3000)
    confirmation.caller_said("item_2", "Yes.", 4000)

    assert (alone, confirmation.decide("book", "v1", 4500)) == (Decision.ASK, Decision.RUN)


def test_failed_transcript_is_no_yes():
    confirmation = asked()
    confirmation.caller_began("item_1", 1200)
    confirmation.caller_said("item_1", None, 2000)

    assert confirmation.decide("book", "v1", 2500) is Decision.ASK


def test_answer_split_over_two_items_is_judged_whole():
    confirmation = asked()
    confirmation.caller_began("item_1", 1200)
    confirmation.caller_began("item_2", 1900)
    confirmation.caller_said("item_1", "yes", 2000)

    half = confirmation.decide("book", "v1", 2500)
    confirmation.caller_said("item_2", "but not on Thursday", 2000)

    assert half is Decision.WAIT
    assert confirmation.pending is not None
    assert confirmation.pending.verdict is Verdict.CHANGE


def test_yes_to_something_else_that_the_agent_said_since_does_not_count():
    confirmation = asked()
    confirmation.agent_spoke("resp_other")
    confirmation.caller_began("item_1", 5000)
    confirmation.caller_said("item_1", "yes", 2000)

    assert confirmation.decide("book", "v1", 2500) is Decision.ASK


def test_what_the_agent_says_while_the_recap_is_being_heard_closes_it_until_it_is_read_out_again():
    confirmation = Confirmation()
    confirmation.begin(Pending("t1", "book", "v1", QUESTION, ("cleaning", "10:30 AM")))
    confirmation.recap_begun("resp_recap")
    confirmation.recap_said(QUESTION)
    confirmation.agent_spoke("resp_other")
    confirmation.recap_heard(1000)
    confirmation.caller_began("item_1", 1200)
    confirmation.caller_said("item_1", "yes", 2000)
    closed = confirmation.decide("book", "v1", 2500)

    confirmation.recap_begun("resp_again")
    confirmation.caller_began("item_2", 3000)
    confirmation.caller_said("item_2", "yes", 4000)

    assert (closed, confirmation.decide("book", "v1", 4500)) == (Decision.ASK, Decision.RUN)


def test_recap_that_lost_a_value_is_never_heard():
    confirmation = Confirmation()
    confirmation.begin(Pending("t1", "book", "v1", QUESTION, ("cleaning", "10:30 AM")))
    confirmation.recap_begun("resp_recap")

    complete = confirmation.recap_said("I will book a cleaning at ten. Shall I go ahead?")
    confirmation.recap_heard(1000)
    confirmation.caller_began("item_1", 1200)
    confirmation.caller_said("item_1", "yes", 2000)

    assert complete is False
    assert confirmation.decide("book", "v1", 2500) is Decision.ASK


def test_button_of_another_question_counts_for_nothing():
    confirmation = asked()

    assert confirmation.button("t0", Verdict.YES, 1500) is False
    assert confirmation.decide("book", "v1", 2500) is Decision.ASK
    assert confirmation.button("t1", Verdict.YES, 1500) is True
    assert confirmation.decide("book", "v1", 2500) is Decision.RUN


def test_yes_that_is_taken_back_is_none():
    confirmation = asked()
    confirmation.caller_began("item_1", 1200)
    confirmation.caller_said("item_1", "Yes.", 1500)
    confirmation.caller_began("item_2", 1800)

    unheard = confirmation.decide("book", "v1", 1900)
    confirmation.caller_said("item_2", "No wait, stop, do not book it", 2000)

    assert (unheard, confirmation.decide("book", "v1", 2100)) == (Decision.WAIT, Decision.ASK)


def test_yes_of_the_button_is_taken_back_by_words():
    confirmation = asked()
    confirmation.button("t1", Verdict.YES, 1100)
    confirmation.caller_began("item_1", 1200)
    confirmation.caller_said("item_1", "Stop", 1500)

    assert confirmation.decide("book", "v1", 1600) is Decision.ASK


def test_yes_does_not_last():
    confirmation = asked()
    confirmation.caller_began("item_1", 1200)
    confirmation.caller_said("item_1", "Yes.", 1500)

    assert confirmation.decide("book", "v1", 31_500) is Decision.RUN
    assert confirmation.decide("book", "v1", 31_501) is Decision.ASK


def test_response_that_lets_a_yes_pass_ends_it():
    confirmation = asked()
    confirmation.response_begun("resp_before")
    confirmation.caller_began("item_1", 1200)
    confirmation.caller_said("item_1", "Yes.", 1500)
    confirmation.response_begun("resp_after")
    confirmation.response_begun("resp_later")

    assert [confirmation.lapses(name) for name in ("resp_before", "resp_after", "resp_later")] == [False, True, False]
