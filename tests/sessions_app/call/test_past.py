"""A process goes on with a call that another has left: what it knows, says first, and never does again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sessions_app.call.brief import Past
from sessions_app.call.function_calls import FunctionCall
from sessions_app.effects import ConnectModel, EventSeen, ItemSaved
from tests.sessions_app.call.script import Scene, recap
from tests.sessions_app.call.test_away import comes_back, words


def said(item_id: str, position: int, speaker: str, text: str, **fields: Any) -> ItemSaved:
    return ItemSaved(item_id, position, speaker, "speech", text, "done", position * 1000, **fields)


ASKED = (
    said("item_1", 1, "agent", "Hello."),
    said("item_2", 2, "caller", "Book a cleaning"),
    said("item_3", 3, "agent", "Which day would you like?", heard_ms=500, heard_chars=9, interrupted=True),
    said("item_4", 4, "caller", "Monday"),
)
LOOKED = (FunctionCall("call_1", "look", "{}", None, 2), '{"status": "ok"}')


def goes_on(items: tuple[ItemSaved, ...] = ASKED, **past: Any) -> Scene:
    """A call whose new process has its upstream session, and whose caller is back."""
    scene = Scene(past=Past(**{"elapsed_ms": 60_000, "epoch": 2, "items": items, "seq": 40, **past}))
    scene.now = 60.0
    scene.take(scene.call.begun(now=60.0))
    comes_back(scene)
    scene.take(scene.call.model_connected(now=60.1))
    scene.model("session.updated")
    for seed in scene.to_model("conversation.item.create"):
        if seed["item"]["type"] == "message":
            scene.model("conversation.item.added", item=seed["item"])
    return scene


def test_caller_sees_the_conversation_and_the_model_is_told_it_as_it_was_heard():
    scene = goes_on(function_calls=(LOOKED,))

    shown = [(e["item"]["id"], words(e["item"])) for e in scene.told("conversation.item.done")]
    seeds = [seed["item"] for seed in scene.to_model("conversation.item.create")]
    heard = {"item_1": "Hello.", "item_2": "Book a cleaning", "item_3": "Which day", "item_4": "Monday"}
    assert dict(shown) == heard
    assert {seed["id"]: seed["content"][0]["text"] for seed in seeds if seed.get("id") in heard} == heard
    assert [seed["call_id"] for seed in seeds if seed["type"] != "message"] == ["call_1", "call_1"]
    assert len([effect for effect in scene.effects if isinstance(effect, ConnectModel)]) == 1


def test_caller_who_was_not_answered_is_answered_and_not_greeted():
    scene = goes_on()

    [asked] = scene.to_model("response.create")
    assert "instructions" not in asked.get("response", {})


def test_caller_who_was_answered_is_listened_to():
    scene = goes_on(ASKED[:3])

    assert scene.to_model("response.create") == []


def test_function_call_that_was_answered_is_never_run_again():
    scene = goes_on(ASKED[:3], function_calls=(LOOKED,))

    scene.calls("resp_1", ("call_1", "look", "{}"))

    assert scene.runs(commit=True) == []
    assert "call_1" not in scene.outputs() or len(scene.outputs()["call_1"]) == 1


def test_write_needs_its_yes_anew():
    scene = goes_on(ASKED[:3])

    scene.calls("resp_1", ("call_2", "book", "{}"))
    scene.tool("call_2", recap())

    assert scene.runs(commit=True) == []
    assert len(scene.told("frontdesk.confirm")) == 1


def test_emergency_of_the_first_process_still_forbids_to_write():
    scene = goes_on(alarm="Emergency")

    scene.calls("resp_1", ("call_2", "book", "{}"))

    assert scene.outputs()["call_2"][0]["error_code"] == "emergency"
    assert [event["number"] for event in scene.told("frontdesk.emergency")] == ["911"]
    assert scene.runs(commit=True) == scene.runs(commit=False) == []


def test_words_that_the_first_process_was_still_to_hear_are_awaited_no_more():
    unheard = replace(said("item_4", 4, "caller", ""), transcript_state="pending")
    scene = goes_on((*ASKED[:3], unheard))

    first = scene.item("item_4")
    scene.take(scene.call.caller_left(now=scene.now, code=1000))

    assert (first.transcript_state, first.text) == ("failed", "")
    assert scene.call.ended, "nothing is waited for"


def test_its_facts_are_told_from_those_of_the_first_process():
    scene = goes_on()
    scene.typed("Hello?", item_id="item_5")

    assert min(fact.seq for fact in scene.facts(EventSeen)) > 40 + 500
    assert scene.item("item_5").position > 4
    assert min(fact.at_ms for fact in scene.facts(EventSeen)) >= 60_000


def test_time_and_usage_count_from_the_beginning_of_the_call():
    scene = goes_on(ASKED[:3], usage={"responses": 3, "total_tokens": 900})

    scene.take(scene.call.stop("internal", now=61.0))

    assert scene.end().at_ms == 61_000
    assert scene.end().usage == {"responses": 3, "total_tokens": 900}


def test_process_that_lets_go_leaves_no_end():
    scene = Scene().live()

    scene.call.let_go()

    assert scene.call.ended
    assert scene.effects == [effect for effect in scene.effects if "CallEnded" not in repr(effect)]
