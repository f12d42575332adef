"""The dialogue, pure: it is led by tools, greetings and facts that it has never seen."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from typing import Any

import pytest

from sessions_app.standin.conversation import Item
from sessions_app.standin.dialogue import Reply, Scene, decide
from tests.sessions_app.standin.recording import Json, function

TODAY = datetime.date(2025, 11, 20)
WATER = function(
    "water_plant",
    "Water the plants of a room.",
    "room",
    "litres",
    room={"type": "string", "title": "Room"},
    litres={"type": "number", "title": "Litres"},
)
NAME = {"type": "string", "title": "Full name"}
BORN = {"type": "string", "format": "date", "title": "Date of birth"}
FERRIES = [
    {"sailing_id": "x1", "leaves": "Tuesday, 25 November at 10:30 AM", "boat": "Alma"},
    {"sailing_id": "x2", "leaves": "Tuesday, 25 November at 2 PM", "boat": "Bess"},
    {"sailing_id": "x3", "leaves": "Wednesday, 26 November at 9 AM", "boat": "Alma"},
]
FERRY_TOOLS = [
    function(
        "find_sailings",
        "Find sailings of the ferry. Returns a sailing_id for each.",
        "cabin",
        cabin={"type": "string", "enum": ["deck", "lounge"], "title": "Cabin"},
        from_date={"type": "string", "format": "date", "title": "From date"},
    ),
    function("find_traveller", "Find a traveller by name and date of birth.", "name", "born", name=NAME, born=BORN),
    function("enrol_traveller", "Register a new traveller.", "name", "born", name=NAME, born=BORN),
    function(
        "reserve_seat",
        "Book a seat on a sailing for the traveller found.",
        "sailing_id",
        "traveller_id",
        sailing_id={"type": "string"},
        traveller_id={"type": "string"},
    ),
    function("finish_call", "End the call after goodbye."),
]
FERRY_INSTRUCTIONS = """# Role
You answer for the ferry.
Greeting: "Ahoy. This is the ferry's automated assistant."
- Dogs: Dogs travel free on deck.
- If someone has fallen overboard say that they must call the coastguard on 112.
Today is Thursday, 20 November 2025.
"""

Backend = Callable[[str, Json], Json]


def ok(**data: object) -> Json:
    return {"status": "ok", "data": data, "trace_id": "t"}


def error(code: str, message: str, **more: object) -> Json:
    return {"status": "error", "error_code": code, "message": message, "retryable": True, "trace_id": "t", **more}


class Talk:
    """A conversation with the dialogue; tools are answered by `backend`."""

    def __init__(self, tools: list[Json], instructions: str = "", backend: Backend = lambda name, args: ok()) -> None:
        self.tools, self.instructions, self.backend = tools, instructions, backend
        self.items: list[Item] = []
        self.calls: list[tuple[str, object]] = []

    def say(self, text: str) -> str:
        """Return the last words of the assistant after the caller said `text`."""
        self.add(type="message", role="user", content=[{"type": "input_text", "text": text}])
        return self.answer()

    def answer(self) -> str:
        for _ in range(20):
            reply = self.reply()
            if reply.say:
                self.add(type="message", role="assistant", content=[{"type": "output_text", "text": reply.say}])
            for name, arguments in reply.calls:
                self.call(name, arguments)
            if not reply.calls:
                return reply.say
        raise AssertionError("The dialogue called tools without end")

    def reply(self, **scene: Any) -> Reply:
        settings: dict[str, Any] = {
            "instructions": self.instructions,
            "tools": self.tools,
            "items": self.items,
            "today": TODAY,
        }
        return decide(Scene(**(settings | scene)))

    def call(self, name: str, arguments: Any) -> None:
        call_id = f"call_{len(self.items)}"
        self.calls.append((name, arguments))
        self.add(type="function_call", call_id=call_id, name=name, arguments=json.dumps(arguments))
        self.add(type="function_call_output", call_id=call_id, output=json.dumps(self.backend(name, arguments)))

    def add(self, **wire: object) -> None:
        self.items.append(Item({"id": f"item_{len(self.items)}", "status": "completed", **wire}))


class Ferry:
    """What the ferry's tools answer: a write wants a yes, and only one traveller is known."""

    def __init__(self, refusals: list[Json] | None = None) -> None:
        self.asked: Json | None = None
        self.refusals = refusals or []

    def __call__(self, name: str, arguments: Json) -> Json:
        if name == "find_sailings":
            return ok(sailings=FERRIES)
        if name == "find_traveller":
            known = arguments == {"name": "Jane Doe", "born": "1980-05-04"}
            return ok(traveller_id="t1") if known else error("not_found", "I do not know you. Are you new?")
        if name == "enrol_traveller":
            return ok(traveller_id="t2")
        if name == "reserve_seat" and self.asked != arguments:
            self.asked = arguments
            return error("confirmation_required", f"Sailing {arguments['sailing_id']}. Is that right?")
        if name == "reserve_seat" and self.refusals:
            self.asked = None
            return self.refusals.pop(0)
        return ok(message="Your seat is kept.")


def ferry(**options: Any) -> Talk:
    return Talk(FERRY_TOOLS, FERRY_INSTRUCTIONS, Ferry(**options))


def test_tool_never_seen_is_led_through_by_its_schema():
    talk = Talk([WATER], 'Greet them: "Good day, gardener."', lambda name, args: ok(say="Done, and thank you."))

    heard = [talk.answer(), *map(talk.say, ["please water the plants", "the kitchen", "two litres"])]

    assert heard == ["Good day, gardener.", "What is the room?", "How many litres?", "Done, and thank you."]
    assert talk.calls == [("water_plant", {"room": "the kitchen", "litres": 2.0})]


def test_whole_booking_is_led_through_choice_identity_and_confirmation():
    talk = ferry()

    heard = [
        talk.answer(),
        *map(
            talk.say, ["I would like to book a seat on deck", "the second one", "Jane Doe", "May 4, 1980", "yes please"]
        ),
    ]

    assert heard == [
        "Ahoy. This is the ferry's automated assistant.",
        "I have first, Tuesday, 25 November at 10:30 AM, Alma; second, Tuesday, 25 November at 2 PM, Bess; "
        "third, Wednesday, 26 November at 9 AM, Alma. Which one would you like?",
        "What is your full name?",
        "What is your date of birth?",
        "Sailing x2. Is that right?",
        "Your seat is kept.",
    ]
    seat = {"sailing_id": "x2", "traveller_id": "t1"}
    assert talk.calls == [
        ("find_sailings", {"cabin": "deck"}),
        ("find_traveller", {"name": "Jane Doe", "born": "1980-05-04"}),
        ("reserve_seat", seat),
        ("reserve_seat", seat),
    ]


def test_what_was_said_at_once_is_not_asked_again():
    talk = ferry()

    talk.say("Hello, my name is Jane Doe, book me a seat in the lounge tomorrow")
    talk.say("wednesday morning")
    last = talk.say("the fourth of may nineteen eighty")

    assert last == "Sailing x3. Is that right?"
    assert talk.calls[0] == ("find_sailings", {"cabin": "lounge", "from_date": "2025-11-21"})


@pytest.mark.parametrize(
    ("words", "sailing"),
    [
        ("the first", "x1"),
        ("number three", "x3"),
        ("the last one please", "x3"),
        ("ten thirty", "x1"),
        ("two pm", "x2"),
        ("tuesday afternoon", "x2"),
        ("wednesday", "x3"),
        ("november twenty sixth", "x3"),
        ("the one with Bess", "x2"),
        ("any of them", "x1"),
    ],
)
def test_choice_is_found_by_place_time_day_or_words(words: str, sailing: str):
    talk = ferry()
    talk.say("book a seat on deck, my name is Jane Doe, born May 4, 1980")

    talk.say(words)

    assert talk.calls[-1] == ("reserve_seat", {"sailing_id": sailing, "traveller_id": "t1"})


def test_other_day_than_those_on_offer_asks_the_source_again():
    talk = ferry()
    talk.say("book a seat on deck")

    talk.say("do you have anything on december 3rd")

    assert talk.calls[-1] == ("find_sailings", {"cabin": "deck", "from_date": "2025-12-03"})


def test_no_asks_what_to_change_and_the_change_makes_a_new_recap():
    talk = ferry()
    for words in ("book a seat on deck, my name is Jane Doe, born May 4, 1980", "the first"):
        talk.say(words)

    heard = [talk.say("no"), talk.say("on wednesday"), talk.say("yes, that's right")]

    assert heard == ["What would you like to change?", "Sailing x3. Is that right?", "Your seat is kept."]


def test_unclear_answer_to_a_recap_runs_nothing():
    talk = ferry()
    for words in ("book a seat on deck, my name is Jane Doe, born May 4, 1980", "the first"):
        talk.say(words)
    before = len(talk.calls)

    heard = talk.say("hmm the sea looks rough")

    assert heard == "Shall I go ahead? Please say yes or no."
    assert len(talk.calls) == before


def test_refused_identity_leads_to_the_tool_for_new_ones():
    talk = ferry()
    for words in ("book a seat on deck", "the first", "Sam Smith"):
        talk.say(words)

    refused = talk.say("March 3, 1990")
    last = talk.say("yes I am new, please register me")

    assert refused == "I do not know you. Are you new?"
    assert last == "Sailing x1. Is that right?"
    assert talk.calls[-2] == ("enrol_traveller", {"name": "Sam Smith", "born": "1990-03-03"})


def test_corrected_identity_is_tried_again():
    talk = ferry()
    for words in ("book a seat on deck", "the first", "Jane Doe", "March 3, 1990"):
        talk.say(words)

    last = talk.say("sorry, it is May 4, 1980")

    assert last == "Sailing x1. Is that right?"


def test_taken_choice_offers_the_new_list():
    talk = ferry(refusals=[error("taken", "That one has just gone.", sailings=FERRIES[1:])])
    for words in ("book a seat on deck, my name is Jane Doe, born May 4, 1980", "the first"):
        talk.say(words)

    gone = talk.say("yes")
    again = talk.say("the first")

    assert gone.startswith("That one has just gone. I have first, Tuesday, 25 November at 2 PM, Bess; second,")
    assert again == "Sailing x2. Is that right?"


def test_fact_of_the_instructions_is_said_and_the_question_asked_again():
    talk = ferry()

    alone = talk.say("what about dogs?")
    talk.say("I want to book a seat")
    within = talk.say("is my dog allowed?")

    assert alone == "Dogs travel free on deck."
    assert within == "Dogs travel free on deck. Which cabin: deck or lounge?"


def test_emergency_is_answered_in_the_middle_of_a_booking():
    talk = ferry()
    for words in ("book a seat on deck", "the first"):
        talk.say(words)

    assert "112" in talk.say("someone has fallen overboard")


def test_goodbye_is_said_and_the_call_ended_by_its_tool():
    talk = ferry()
    talk.say("that's all, goodbye")

    assert talk.calls == [("finish_call", {})]


def test_two_questions_at_once_are_two_calls():
    talk = Talk([function("read_clock", "The time of day."), function("see_sky", "The weather outside.")])
    talk.add(
        type="message",
        role="user",
        content=[{"type": "input_text", "text": "what time of day is it and how is the weather"}],
    )

    assert talk.reply().calls == [("read_clock", {}), ("see_sky", {})]


def test_tool_named_first_in_a_description_runs_first():
    tools = [
        function("open_gate", "Open the gate. Needs unlock_gate first."),
        function("unlock_gate", "Unlock it with the code.", "code", code={"type": "string", "title": "Code word"}),
    ]
    talk = Talk(tools)

    heard = [talk.say("open the gate"), talk.say("sesame")]

    assert heard == ["What is the code word?", "That is done."]
    assert talk.calls == [("unlock_gate", {"code": "sesame"}), ("open_gate", {})]


def test_refusal_that_names_another_tool_runs_it_and_tries_again():
    done: list[str] = []

    def backend(name: str, arguments: Json) -> Json:
        done.append(name)
        if name == "open_gate" and "unlock_gate" not in done:
            return error("locked", "Call unlock_gate before this.")
        return ok(say="Open.")

    talk = Talk([function("open_gate", "Open the gate."), function("unlock_gate", "Turn the key.")], backend=backend)

    assert talk.say("open the gate") == "Open."
    assert done == ["open_gate", "unlock_gate", "open_gate"]


def test_tool_that_never_succeeds_is_not_called_without_end():
    talk = Talk([function("open_gate", "Open the gate.")], backend=lambda name, args: error("stuck", "It is stuck."))

    assert talk.say("open the gate").startswith("It is stuck. Could you check that for me")
    assert len(talk.calls) == 1


def test_no_more_than_six_calls_are_made_in_a_row():
    talk = Talk([function("open_gate", "Open the gate.")])
    talk.add(type="message", role="user", content=[{"type": "input_text", "text": "open the gate"}])
    for _ in range(6):
        talk.call("shake_gate", {})

    assert talk.reply() == Reply("I am sorry, I cannot get further with that.")


def test_instructions_of_a_response_are_quoted_and_call_nothing():
    talk = ferry()
    talk.add(type="message", role="user", content=[{"type": "input_text", "text": "book a seat on deck"}])

    straight = talk.reply(own_instructions='Say exactly: "One "small" thing."')
    curly = talk.reply(own_instructions="Say \u201cWait.\u201d Do nothing else.", tool_choice="none")

    assert (straight, curly) == (Reply('One "small" thing.'), Reply("Wait."))


def test_instructions_without_a_quotation_are_followed_by_their_first_sentence():
    reply = ferry().reply(own_instructions="Wish them a calm sea. Do nothing else.", tools=[])

    assert reply == Reply("Wish them a calm sea.")


def test_same_items_give_the_same_answer_in_a_new_session():
    talk = ferry()
    for words in ("book a seat on deck", "the second one", "Jane Doe"):
        talk.say(words)

    assert ferry().reply(items=list(talk.items)) == talk.reply()


def test_greeting_may_stand_under_a_heading_and_absent_one_is_plain():
    assert Talk([], "# Greeting\n\nWelcome to the mill.").answer() == "Welcome to the mill."
    assert Talk([], "Be kind.").answer() == "Hello. How can I help you?"


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("hello", "Hello. How can I help you?"),
        ("thank you", "You are welcome. Is there anything else I can do for you?"),
        ("mumble grumble", "I am sorry, could you say that again?"),
    ],
)
def test_small_talk(words: str, answer: str):
    assert ferry().say(words) == answer


def test_never_mind_lets_go():
    talk = ferry()
    talk.say("book a seat")

    heard = [talk.say("never mind"), talk.say("thanks")]

    assert heard[0] == "All right, I have left that. Is there anything else I can do for you?"
    assert heard[1] == "You are welcome. Is there anything else I can do for you?"


def test_sound_without_words_is_asked_for_again():
    talk = ferry()
    talk.add(type="message", role="user", content=[{"type": "input_audio", "transcript": None}])

    assert talk.answer() == "Sorry, I did not catch that. Could you say it again?"
