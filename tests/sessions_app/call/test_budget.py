"""What a call does as money runs out, and what bounds it where money does not."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from sessions_app.call.brief import ToolBrief
from sessions_app.call.budget import GRACE_MS, Budget, Standing
from sessions_app.effects import EventSeen, Spend, ToCaller, ToModel
from tests.sessions_app.call.script import Scene, looked, recap


class Dollars:
    """A dollar for a million tokens of each kind: a millionth of one for each token."""

    text_in = text_cached = text_out = audio_in = audio_cached = audio_out = Decimal(1)
    audio_minute = Decimal(60)  # a dollar a second


TOOLS = {
    "look": ToolBrief(writes=False, working="Looking"),
    "book": ToolBrief(writes=True, outcome="booked"),
    "take_message": ToolBrief(writes=True, outcome="message"),
    "end_call": ToolBrief(writes=False),
}
CLIP = bytes(48 * 400)


def a_scene(**brief: Any) -> Scene:
    return Scene(**{"rates": Dollars(), "transcription_rates": Dollars(), "tools": TOOLS, **brief}).live()


def used(tokens: int) -> dict[str, Any]:
    return {"input_tokens": tokens, "output_tokens": 0, "total_tokens": tokens}


def replies(scene: Scene, n: int, *, tokens: int) -> None:
    """One whole response, which used so many tokens."""
    scene.model("response.created", response={"id": f"resp_{n}", "status": "in_progress", "metadata": None})
    scene.model(
        "response.done", response={"id": f"resp_{n}", "status": "completed", "output": [], "usage": used(tokens)}
    )


def spends(scene: Scene) -> list[int]:
    return [effect.total_microusd for effect in scene.effects if isinstance(effect, Spend)]


def stands(scene: Scene, standing: Standing) -> None:
    scene.take(scene.call.from_ledger(standing, now=scene.now))


def test_each_new_cost_is_told_as_the_total_so_far():
    scene = a_scene()

    replies(scene, 1, tokens=100)
    replies(scene, 2, tokens=0)
    replies(scene, 3, tokens=50)

    assert spends(scene) == [100, 150]


def test_cost_of_transcription_counts():
    scene = a_scene()
    scene.speech("item_u1", None)

    scene.model(
        "conversation.item.input_audio_transcription.completed",
        item_id="item_u1",
        transcript="Hello",
        usage={"type": "duration", "seconds": 2.5},
    )

    assert spends(scene) == [2_500_000]


def test_without_a_known_price_nothing_is_told():
    scene = a_scene(rates=None)

    replies(scene, 1, tokens=100)

    assert spends(scene) == []


def test_warning_is_noted_once_and_changes_nothing_for_the_caller():
    scene = a_scene()

    stands(scene, Standing.WARN)
    effects = scene.last
    stands(scene, Standing.WARN)
    stands(scene, Standing.OK)

    assert [effect for effect in effects if isinstance(effect, (ToCaller, ToModel))] == []
    assert scene.own().count("budget.warned") == 1


def test_text_alone_is_what_a_call_goes_on_in_when_nothing_more_can_be_kept_back():
    scene = a_scene()

    stands(scene, Standing.TEXT_ONLY)

    assert scene.to_model("session.update")[-1]["session"] == {"type": "realtime", "output_modalities": ["text"]}
    assert scene.told("frontdesk.budget")[0]["level"] == "text_only"
    assert scene.told("session.updated")[-1]["session"]["output_modalities"] == ["text"]
    # What the model acknowledges was not asked for by the caller, and is not told a second time.
    scene.model("session.updated")
    assert len(scene.told("session.updated")) == 1


def test_caller_cannot_ask_for_sound_again_and_a_session_that_follows_has_none():
    scene = a_scene()
    stands(scene, Standing.TEXT_ONLY)
    scene.model("session.updated")

    scene.caller("session.update", session={"type": "realtime", "output_modalities": ["audio"]})

    assert scene.told("session.updated")[-1]["session"]["output_modalities"] == ["text"]
    assert len(scene.to_model("session.update")) == 2
    scene.take(scene.call.model_lost("gone", now=scene.now))
    scene.take(scene.call.model_connected(now=scene.now))
    assert scene.to_model("session.update")[-1]["session"]["output_modalities"] == ["text"]


def test_call_that_was_typed_anyway_is_told_and_changes_nothing():
    scene = a_scene()
    scene.caller("session.update", session={"type": "realtime", "output_modalities": ["text"]})
    scene.model("session.updated")
    updates = len(scene.to_model("session.update"))

    stands(scene, Standing.TEXT_ONLY)

    assert len(scene.to_model("session.update")) == updates
    assert [event["level"] for event in scene.told("frontdesk.budget")] == ["text_only"]


def test_message_is_all_that_a_call_takes_when_nothing_is_left():
    scene = a_scene()

    stands(scene, Standing.MESSAGE)

    assert [event["level"] for event in scene.told("frontdesk.budget")] == ["text_only", "message"]
    assert scene.own().count("budget.warned") == 3
    [note] = [
        event["item"] for event in scene.to_model("conversation.item.create") if event["item"]["role"] == "system"
    ]
    assert "message" in note["content"][0]["text"]
    assert len(scene.to_model("response.create")) == 2  # the greeting, and this


def test_tools_are_refused_then_but_for_the_message_and_the_end():
    scene = a_scene()
    stands(scene, Standing.MESSAGE)

    scene.calls("resp_2", ("call_1", "look", "{}"), ("call_2", "book", "{}"), ("call_3", "take_message", "{}"))
    scene.tool("call_3", recap())
    scene.calls("resp_3", ("call_4", "end_call", "{}"))

    codes = {name: outputs[0].get("error_code") for name, outputs in scene.outputs().items()}
    assert codes == {"call_1": "budget", "call_2": "budget", "call_3": "confirmation_required"}
    assert [run.name for run in scene.runs(commit=True)] == ["end_call"]


def test_goodbye_of_such_a_call_ends_it_for_want_of_budget():
    scene = a_scene(clips={"goodbye": CLIP})
    stands(scene, Standing.MESSAGE)
    scene.model("session.updated")
    until = scene.now + GRACE_MS / 1000
    scene.reply("resp_2", "item_2", "I can only take a message.")

    for n in (3, 4, 5):  # a caller who goes on and on
        scene.at(scene.now + 15)
        scene.typed("But I want to book.", item_id=f"typed_{n}")
        scene.reply(f"resp_{n}", f"item_{n}", "I am sorry.")
    scene.at(until - 0.1)
    before = scene.own().count("frontdesk.ended") + len(scene.told("frontdesk.ended"))
    scene.at(until + 20)

    assert before == 0

    assert (scene.hang_up().code, scene.hang_up().reason) == (4430, "budget")
    assert (scene.end().reason, scene.end().outcome) == ("budget", "answered")
    # Its clip is heard, though the model writes: it costs nothing.
    assert b"".join(effect.pcm for effect in scene.effects if isinstance(effect, ToCaller)).endswith(CLIP)


def test_goodbye_that_the_model_says_itself_ends_it_the_same_way():
    scene = a_scene()
    stands(scene, Standing.MESSAGE)
    scene.model("session.updated")
    scene.begin_reply("resp_2", "item_2")
    scene.end_reply("resp_2", "item_2", "I can take a message.")

    scene.calls("resp_3", ("call_1", "end_call", "{}"))
    scene.tool("call_1", replace(looked(), then="hang_up"))
    scene.begin_reply("resp_4", "item_4")
    scene.end_reply("resp_4", "item_4", "Goodbye.")
    scene.at(scene.now + 20)

    assert (scene.hang_up().code, scene.hang_up().reason) == (4430, "budget")


def test_call_that_is_ending_is_not_disturbed():
    scene = a_scene()
    scene.take(scene.call.wrap_up(now=scene.now))
    before = len(scene.to_model())

    stands(scene, Standing.MESSAGE)

    assert len(scene.to_model()) == before
    assert scene.told("frontdesk.budget") == []


@pytest.mark.parametrize(
    ("tokens", "number", "code"), [(1, 201, "too_many_responses"), (1_000_000, 5, "too_many_tokens")]
)
def test_loop_of_responses_ends_politely_at_the_calls_own_bound(tokens, number, code):
    scene = a_scene(clips={"goodbye": CLIP})

    for n in range(number + 9):
        replies(scene, n, tokens=tokens)
        if scene.call.ended or "budget.overrun" in scene.own():
            break
    scene.at(scene.now + 20)

    assert scene.end().usage["responses"] == number
    assert (scene.hang_up().code, scene.end().reason) == (4430, "budget")
    [noted] = [fact for fact in scene.facts(EventSeen) if fact.type == "budget.overrun"]
    assert noted.fields == {"code": code}


def test_third_equal_function_call_in_one_turn_is_refused_and_the_next_turn_begins_anew():
    scene = a_scene()

    for n in range(4):
        scene.calls(f"resp_{n + 2}", (f"call_{n}", "look", '{"day": "Monday"}'))
        scene.tool(f"call_{n}", looked())
    scene.calls("resp_6", ("call_4", "look", '{"day": "Tuesday"}'))
    scene.tool("call_4", looked())
    scene.speech("item_u1", "And on Monday?")
    scene.calls("resp_7", ("call_5", "look", '{"day": "Monday"}'))
    scene.tool("call_5", looked())

    codes = [outputs[0].get("error_code", "ok") for outputs in scene.outputs().values()]
    assert codes == ["ok", "ok", "repeated_call", "repeated_call", "ok", "ok"]


def test_longer_calls_may_have_more_responses():
    short, long = Budget(60_000), Budget(600_000)

    assert (short.overrun({"responses": 21}), long.overrun({"responses": 21})) == ("too_many_responses", "")
    assert (short.overrun({"total_tokens": 400_001}), long.overrun({})) == ("too_many_tokens", "")
