"""The state of a call as one pure module: a table of events and what they lead to."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]
Event = dict[str, Any]

VOICE: list[Event] = [{"type": "start", "mode": "voice"}, {"type": "microphone_ready"}]
LIVE: list[Event] = [*VOICE, {"type": "session.created"}]
TEXT: list[Event] = [{"type": "start", "mode": "text"}, {"type": "session.created"}]
WORKING = {"type": "frontdesk.tool", "status": "working", "label": "Checking the diary"}
WORKED = {**WORKING, "status": "done"}
PLAYS, SILENT, WAITED = {"type": "playback_started"}, {"type": "playback_ended"}, {"type": "waited"}
STARTS = {"type": "input_audio_buffer.speech_started"}
STOPS = {"type": "input_audio_buffer.speech_stopped"}
MUTE, UNMUTE = {"type": "mute", "on": True}, {"type": "mute", "on": False}
PUSH = {"type": "push_to_talk", "on": True}
HOLD, RELEASE = {"type": "hold", "on": True}, {"type": "hold", "on": False}
CREATED = {"type": "response.created", "response": {"id": "r"}}
CONFIRM = {"type": "frontdesk.confirm", "token": "t", "question": "Shall I?", "lines": [["When", "Monday"]]}
ENDED = {"type": "frontdesk.ended", "reason": "goodbye", "reference": "7K4Q"}
EMERGENCY = {"type": "frontdesk.emergency", "line": "Call now.", "number": "911"}
END = {"type": "hang_up"}


def over(status: str, *output: str) -> Event:
    items = [{"type": kind} for kind in output]
    return {"type": "response.done", "response": {"id": "r", "status": status, "output": items}}


STATUS_AFTER: list[tuple[str, list[Event], str]] = [
    ("nothing", [], "idle"),
    ("the tap", VOICE[:1], "connecting"),
    ("the microphone", VOICE, "connecting"),
    ("the tap for text", TEXT[:1], "connecting"),
    ("the session", LIVE, "listening"),
    ("a session that nobody asked for", [{"type": "session.created"}], "idle"),
    ("a session before the microphone", [VOICE[0], {"type": "session.created"}], "connecting"),
    ("a long wait for the greeting", [*LIVE, WAITED], "thinking"),
    ("the greeting", [*LIVE, WAITED, PLAYS], "speaking"),
    ("the greeting's end", [*LIVE, PLAYS, SILENT], "listening"),
    ("an interruption", [*LIVE, PLAYS, STARTS], "listening"),
    ("the caller's end", [*LIVE, PLAYS, STARTS, STOPS], "listening"),
    ("a long wait for an answer", [*LIVE, STARTS, STOPS, WAITED], "thinking"),
    ("a wait that is over", [*LIVE, PLAYS, SILENT, WAITED], "listening"),
    ("a failed reply", [*LIVE, WAITED, CREATED, over("failed")], "listening"),
    ("a reply that was cut off", [*LIVE, STARTS, STOPS, WAITED, CREATED, over("cancelled")], "thinking"),
    ("a tool", [*LIVE, WORKING], "working"),
    ("a sentence during a tool", [*LIVE, WORKING, PLAYS], "speaking"),
    ("one of two equal tools done", [*LIVE, WORKING, WORKING, WORKED], "working"),
    ("both done", [*LIVE, PLAYS, SILENT, WORKING, WORKING, WORKED, WORKED], "listening"),
    ("a tool done without its name", [*LIVE, PLAYS, SILENT, WORKING, {**WORKED, "label": ""}], "listening"),
    ("a tool that asks for a yes", [*LIVE, PLAYS, SILENT, WORKING, CONFIRM], "listening"),
    ("a tool done that never began", [*LIVE, WORKED, WORKING], "working"),
    ("muting", [*LIVE, MUTE], "muted"),
    ("a reply while muted", [*LIVE, MUTE, PLAYS], "speaking"),
    ("a tool while muted", [*LIVE, MUTE, WORKING], "working"),
    ("unmuting", [*LIVE, MUTE, UNMUTE], "listening"),
    ("muting with push to talk", [*LIVE, PUSH, MUTE], "listening"),
    ("holding", [*LIVE, PLAYS, PUSH, HOLD], "listening"),
    ("a tool's own reply", [*LIVE, STARTS, STOPS, WAITED, CREATED, over("completed")], "thinking"),
    ("a reply without sound", [*LIVE, STARTS, STOPS, WAITED, CREATED, over("completed", "message")], "listening"),
    ("a spoken greeting, read", [*TEXT, WAITED, {"type": "response.output_audio_transcript.delta"}], "listening"),
    ("writing", [*TEXT, CREATED], "speaking"),
    ("written", [*TEXT, CREATED, over("completed")], "listening"),
    ("a spoken reply in a text call", [*TEXT, MUTE], "listening"),
    ("goodbye", [*LIVE, PLAYS, ENDED], "speaking"),
    ("a close after goodbye", [*LIVE, PLAYS, ENDED, {"type": "closed", "code": 1000}], "speaking"),
    ("a lost connection after goodbye", [*LIVE, PLAYS, ENDED, {"type": "closed", "code": 1006}], "speaking"),
    ("goodbye played", [*LIVE, PLAYS, ENDED, SILENT], "closing"),
    ("a close while the caller speaks", [*LIVE, STARTS, {"type": "closed", "code": 1000}], "closing"),
    ("goodbye heard", [*LIVE, ENDED, {"type": "settled"}], "ended"),
    ("the end button", [*LIVE, END], "ended"),
    ("cancelling", [*VOICE, END], "idle"),
    ("ending what is over", [*LIVE, END, END], "ended"),
    ("a fault", [*VOICE, {"type": "failed", "problem": "key_busy"}], "error"),
    ("a fault after the end", [*LIVE, END, {"type": "failed", "problem": "key_busy"}], "ended"),
    ("a lost connection", [*LIVE, {"type": "closed", "code": 1006}], "error"),
    ("a close without a word", [*LIVE, {"type": "closed", "code": 1000}, {"type": "settled"}], "ended"),
    ("a new start after a fault", [*VOICE, {"type": "failed", "problem": "key_busy"}, *TEXT], "listening"),
    ("a second start in a call", [*LIVE, *TEXT], "listening"),
    ("a new call", [*LIVE, END, {"type": "reset"}], "idle"),
]

FOLD = """async (events) => {
  const { IDLE, reduce, status, microphoneOpen } = await import("/static/sessions_app/call_state.js");
  const state = events.reduce(reduce, IDLE);
  return { ...state, status: status(state), open: microphoneOpen(state) };
}"""


@pytest.fixture
def fold(modules: Page) -> Any:
    async def fold(*events: Event) -> dict[str, Any]:
        state: dict[str, Any] = await modules.evaluate(FOLD, list(events))
        return state

    return fold


async def test_each_story_leads_to_its_state(fold: Any) -> None:
    told = {name: (await fold(*events))["status"] for name, events, _ in STATUS_AFTER}

    assert told == {name: expected for name, _, expected in STATUS_AFTER}


async def test_sound_may_leave_only_in_a_call_by_voice_unmuted_or_while_held(fold: Any) -> None:
    stories = {
        "before the session": VOICE,
        "in the call": LIVE,
        "muted": [*LIVE, MUTE],
        "push to talk": [*LIVE, PUSH],
        "held": [*LIVE, PUSH, HOLD],
        "held while muted": [*LIVE, MUTE, PUSH, HOLD],
        "released": [*LIVE, PUSH, HOLD, RELEASE],
        "by text": TEXT,
        "saying goodbye": [*LIVE, ENDED],
        "ended": [*LIVE, END],
    }

    open_in = [name for name, events in stories.items() if (await fold(*events))["open"]]

    assert open_in == ["in the call", "held", "held while muted"]


async def test_a_recap_is_answered_once_and_goes_only_by_its_own_token(fold: Any) -> None:
    yes = {"type": "answer", "token": "t", "answer": "yes"}
    change = {"type": "answer", "token": "t", "answer": "change"}
    other = {"type": "frontdesk.confirm_closed", "token": "other", "answer": "replaced"}
    own = {"type": "frontdesk.confirm_closed", "token": "t", "answer": "yes"}

    shown = await fold(*LIVE, CONFIRM, yes, change, other)
    closed = await fold(*LIVE, CONFIRM, yes, own)

    assert shown["recap"] == {"token": "t", "question": "Shall I?", "lines": [["When", "Monday"]], "answer": "yes"}
    assert closed["recap"] is None


async def test_the_emergency_number_stays_until_the_caller_begins_anew(fold: Any) -> None:
    panel = {"line": "Call now.", "number": "911"}
    stories: list[list[Event]] = [
        [],
        [CONFIRM],
        [ENDED],
        [ENDED, {"type": "settled"}],
        [END],
        [{"type": "closed", "code": 4500}],
    ]

    seen = [(await fold(*LIVE, EMERGENCY, *more))["emergency"] for more in stories]
    anew = await fold(*LIVE, EMERGENCY, END, *LIVE)

    assert seen == [panel] * len(stories)
    assert anew["emergency"] is None


async def test_what_the_budget_leaves_is_said_until_the_call_is_over(fold: Any) -> None:
    written = {"type": "frontdesk.budget", "level": "text_only"}
    message = {"type": "frontdesk.budget", "level": "message"}

    seen = [
        ((after := await fold(*LIVE, *events))["budget"], after["hint"])
        for events in ([], [written], [written, STARTS], [written, message], [END], [END, message])
    ]
    anew = await fold(*LIVE, message, END, *LIVE)

    assert seen == [
        (None, None),
        ("text_only", "budget_text_only"),
        ("text_only", None),
        ("message", "budget_message"),
        (None, None),
        (None, None),
    ]
    assert anew["budget"] is None


async def test_each_close_code_has_its_problem_and_others_share_one(fold: Any) -> None:
    codes = [1006, 1012, 1013, 4400, 4401, 4403, 4404, 4408, 4409, 4413, 4429, 4430, 4500, 1011, 4999]

    problems = [(await fold(*LIVE, {"type": "closed", "code": code}))["problem"] for code in codes]

    assert problems == [*(f"close_{code}" for code in codes[:-2]), "close_other", "close_other"]


async def test_what_is_unknown_or_changes_nothing_returns_the_very_same_state(modules: Page) -> None:
    same = await modules.evaluate(
        """async (start) => {
          const { reduce, IDLE } = await import("/static/sessions_app/call_state.js");
          const state = start.reduce(reduce, IDLE);
          const idle = ["rate_limits.updated", "constructor", "toString", "__proto__", "settled", "playback_ended"];
          return idle.map((type) => reduce(state, { type }) === state);
        }""",
        LIVE,
    )

    assert same == [True] * 6
