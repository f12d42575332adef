"""Plays the sides of a call in tests: a `Scene` tells a `Call` what happened and keeps what it answered."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

from agents_app.guardrails import Rule
from sessions_app.call import Call, CallBrief
from sessions_app.call.brief import Lines, ToolBrief
from sessions_app.call.function_calls import RecapShown, ToolResult
from sessions_app.dialect.said import parse_caller
from sessions_app.effects import CallEnded, Effect, EventSeen, HangUp, ItemSaved, Record, RunTool, ToCaller, ToModel
from sessions_app.events import encode_audio, parse

MS = 48  # bytes of sound

SESSION = {
    "type": "realtime",
    "instructions": "SECRET instructions",
    "output_modalities": ["audio"],
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "turn_detection": {"type": "server_vad", "interrupt_response": True, "create_response": True},
        },
        "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin"},
    },
    "tools": [],
}
EMERGENCY = Rule(0, "Emergency", ("chest pain", "can't breathe"), "Please call 911 now.", True)


def a_brief(**fields: Any) -> CallBrief:
    return CallBrief(
        **{
            "call_id": "00000000-0000-0000-0000-000000000001",
            "reference": "ABC234",
            "public_name": "lexi",
            "session": SESSION,
            "lines": Lines("Hello. I am an automated assistant.", "Goodbye.", "Sorry, please phone us."),
            "emergency_number": "911",
            "max_call_ms": 600_000,
            "tools": {
                "look": ToolBrief(writes=False, working="Looking"),
                "book": ToolBrief(writes=True, working="Booking", outcome="booked"),
                "bye": ToolBrief(writes=False),
            },
            "rules": (EMERGENCY,),
            "own_events": True,
            **fields,
        }
    )


class Scene:
    """Time is in seconds; each input comes at `self.now`."""

    def __init__(self, **brief: Any) -> None:
        self.call = Call(a_brief(**brief), started=0.0)
        self.now = 0.0
        self.effects: list[Effect] = []
        self.last: list[Effect] = []
        self._ids = count(1)

    def take(self, effects: list[Effect]) -> list[Effect]:
        self.last = effects
        self.effects += effects
        return effects

    def at(self, now: float) -> Scene:
        """Let time pass, with each tick where the call asked for one."""
        while (due := self.call.next_tick()) is not None and due <= now:
            self.now = max(self.now, due)
            self.take(self.call.tick(now=self.now))
            assert self.call.next_tick() != due, "a tick that was due is due again: the loop would spin"
        self.now = now
        return self

    def model(self, kind: str, **fields: Any) -> list[Effect]:
        event = {"type": kind, "event_id": f"event_{next(self._ids)}", **fields}
        return self.take(self.call.from_model(parse(json.dumps(event)), now=self.now))

    def caller(self, kind: str, **fields: Any) -> list[Effect]:
        return self.take(self.call.from_caller(parse_caller(json.dumps({"type": kind, **fields})), now=self.now))

    def tool(self, call_id: str, result: ToolResult) -> list[Effect]:
        return self.take(self.call.from_tool(call_id, result, now=self.now))

    def connected(self) -> Scene:
        """Begin: both legs are there."""
        self.take(self.call.begun(now=self.now))
        self.take(self.call.opened(now=self.now))
        self.take(self.call.model_connected(now=self.now))
        return self

    # Whole stretches.

    def live(self) -> Scene:
        """Open, make ready, greet to the end, at second 1."""
        self.connected()
        self.model("session.created")
        self.model("session.updated")
        self.reply("resp_greeting", "item_greeting", "Hello.", sound_ms=500)
        return self.at(1.0)

    def reply(self, response_id: str, item_id: str, words: str, *, sound_ms: int = 0, finished: bool = True) -> None:
        """The model answers in speech; `sound_ms` of it in one delta."""
        self.begin_reply(response_id, item_id)
        self.model("response.output_audio_transcript.delta", response_id=response_id, item_id=item_id, delta=words)
        if sound_ms:
            self.sound(response_id, item_id, sound_ms)
        if finished:
            self.end_reply(response_id, item_id, words)

    def begin_reply(self, response_id: str, item_id: str) -> None:
        asked = [event for event in self.to_model("response.create")]
        metadata = asked[-1].get("response", {}).get("metadata") if asked else None
        self.model("response.created", response={"id": response_id, "status": "in_progress", "metadata": metadata})
        item = {"id": item_id, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        self.model("response.output_item.added", response_id=response_id, item=item)
        self.model("conversation.item.added", item=item)

    def sound(self, response_id: str, item_id: str, ms: int) -> list[Effect]:
        delta = encode_audio(bytes(ms * MS))
        return self.model("response.output_audio.delta", response_id=response_id, item_id=item_id, delta=delta)

    def end_reply(self, response_id: str, item_id: str, words: str, *, status: str = "completed") -> None:
        content = [{"type": "output_audio", "transcript": words}]
        item = {"id": item_id, "type": "message", "role": "assistant", "status": status, "content": content}
        self.model("response.output_audio.done", response_id=response_id, item_id=item_id)
        self.model("response.output_audio_transcript.done", response_id=response_id, item_id=item_id, transcript=words)
        self.model("conversation.item.done", item=item)
        self.model("response.done", response={"id": response_id, "status": status, "output": [item], "usage": None})

    def speech(self, item_id: str, words: str | None, *, ms: int = 800, answered_by: str = "") -> None:
        """The caller speaks; the words come when the turn is committed, or not at all yet (None)."""
        self.model("input_audio_buffer.speech_started", item_id=item_id, audio_start_ms=0)
        self.at(self.now + ms / 1000)
        self.model("input_audio_buffer.speech_stopped", item_id=item_id, audio_end_ms=ms)
        self.model("input_audio_buffer.committed", item_id=item_id)
        body = {"id": item_id, "type": "message", "role": "user", "content": [{"type": "input_audio"}]}
        self.model("conversation.item.added", item=body)
        if words is not None:
            self.transcribed(item_id, words)

    def transcribed(self, item_id: str, words: str) -> list[Effect]:
        kind = "conversation.item.input_audio_transcription.completed"
        return self.model(kind, item_id=item_id, transcript=words)

    def typed(self, words: str, *, item_id: str = "typed_1") -> list[Effect]:
        """The caller types, and asks for a response; upstream takes the message up."""
        content = [{"type": "input_text", "text": words}]
        item = {"id": item_id, "type": "message", "role": "user", "content": content}
        effects = self.caller("conversation.item.create", item=item)
        effects += self.caller("response.create")
        effects += self.model("conversation.item.added", item=item)
        return effects

    def calls(self, response_id: str, *functions: tuple[str, str, str]) -> None:
        """The model calls functions (call_id, name, arguments) in one response."""
        self.model("response.created", response={"id": response_id, "status": "in_progress", "metadata": None})
        items = [
            {
                "id": f"item_{call_id}",
                "type": "function_call",
                "status": "completed",
                "call_id": call_id,
                "name": name,
                "arguments": arguments,
            }
            for call_id, name, arguments in functions
        ]
        for item in items:
            self.model("conversation.item.added", item={**item, "status": "in_progress", "arguments": ""})
            self.model("conversation.item.done", item=item)
        self.model("response.done", response={"id": response_id, "status": "completed", "output": items})

    # What came of it.

    def to_model(self, kind: str = "") -> list[dict[str, Any]]:
        return [e.event for e in self.effects if isinstance(e, ToModel) and e.event["type"].startswith(kind)]

    def told(self, kind: str = "") -> list[dict[str, Any]]:
        return [e.event for e in self.effects if isinstance(e, ToCaller) and e.event["type"].startswith(kind)]

    def outputs(self) -> dict[str, list[dict[str, Any]]]:
        """Every output that the model was given, by function call."""
        given: dict[str, list[dict[str, Any]]] = {}
        for event in self.to_model("conversation.item.create"):
            if event["item"]["type"] == "function_call_output":
                given.setdefault(event["item"]["call_id"], []).append(json.loads(event["item"]["output"]))
        return given

    def runs(self, *, commit: bool) -> list[RunTool]:
        return [e for e in self.effects if isinstance(e, RunTool) and e.commit is commit]

    def facts(self, kind: type) -> list[Any]:
        return [e.fact for e in self.effects if isinstance(e, Record) and isinstance(e.fact, kind)]

    def item(self, item_id: str) -> ItemSaved:
        """The item as its last fact tells it."""
        fact: ItemSaved = [fact for fact in self.facts(ItemSaved) if fact.item_id == item_id][-1]
        return fact

    def own(self) -> list[str]:
        return [fact.type for fact in self.facts(EventSeen) if fact.direction == "own"]

    def end(self) -> CallEnded:
        [ended] = self.facts(CallEnded)
        fact: CallEnded = ended
        return fact

    def hang_up(self) -> HangUp:
        [hang_up] = [e for e in self.effects if isinstance(e, HangUp)]
        return hang_up


def looked() -> ToolResult:
    return ToolResult({"status": "ok", "data": {}, "trace_id": "t"}, ok=True)


def booked() -> ToolResult:
    output = {"status": "ok", "data": {"say": "Booked."}, "trace_id": "t"}
    return ToolResult(output, ok=True, card=(("When", "Monday"),))


QUESTION = "I will book a cleaning on Monday at 10:30 AM. Shall I go ahead?"


def recap(digest: str = "v1", question: str = QUESTION) -> ToolResult:
    output = {"status": "error", "error_code": "confirmation_required", "message": question, "retryable": True}
    shown = RecapShown(question, (("When", "Monday at 10:30 AM"),), ("cleaning", "Monday", "10:30 AM"), digest)
    return ToolResult({**output, "trace_id": "t"}, ok=False, recap=shown)
