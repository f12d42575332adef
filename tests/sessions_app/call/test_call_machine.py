"""A call in any order of what may happen to it, against a model's side that keeps to the protocol.

The machine plays the service: a session takes items and one response at a time, forgets everything when it is lost,
and speaks only of what it was told. Whatever the order, the call keeps the rules that it lives by.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sessions_app.call.budget import Standing
from sessions_app.call.function_calls import ToolResult
from sessions_app.effects import (
    AudioToModel,
    CallEnded,
    ConnectModel,
    Effect,
    HangUp,
    LeaveModel,
    Record,
    RunTool,
    ToCaller,
    ToModel,
)
from sessions_app.events import encode_audio
from tests.sessions_app.call.script import MS, Scene, booked, looked, recap

CLIPS = {"one_moment": bytes(500 * MS), "are_you_there": bytes(500 * MS), "goodbye": bytes(500 * MS)}


class Session:
    """One session of the service, as the call's messages make it."""

    def __init__(self) -> None:
        self.configured = False
        self.active: str | None = None
        self.asked: list[dict[str, Any]] = []
        self.items: list[dict[str, Any]] = []
        self.calls: Counter[str] = Counter()
        self.outputs: Counter[str] = Counter()

    def hear(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        assert self.configured or kind == "session.update", f"{kind} before the configuration was taken"
        if kind == "response.create":
            assert not self.asked, "a second request while the first is not answered"
            self.asked.append(event)
        elif kind == "conversation.item.create":
            item = event["item"]
            self.items.append(item)
            if item["type"] == "function_call":
                self.calls[item["call_id"]] += 1
            elif item["type"] == "function_call_output":
                assert item["call_id"] in self.calls, "an output without its call"
                self.outputs[item["call_id"]] += 1
                assert self.outputs[item["call_id"]] == 1, "a second output of one call"


class CallMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.scene = Scene(clips=CLIPS, max_call_ms=300_000)
        self.session: Session | None = None
        self.seen = 0
        self.number = 0
        self.returns: list[int] = []  # how many effects there were each time the caller came back
        self.running: dict[str, RunTool] = {}
        self.commits: Counter[str] = Counter()
        self.created: Counter[str] = Counter()
        self.speaking: str | None = None
        self.ended = self.away = self.connecting = False
        self.take(self.scene.call.begun(now=0.0))
        self.take(self.scene.call.opened(now=0.0))

    # The world's side.

    def take(self, effects: list[Effect]) -> None:
        self.scene.take(effects)
        self.perform()

    def perform(self) -> None:
        """Do what the call asked for since the last time."""
        new, self.seen = self.scene.effects[self.seen :], len(self.scene.effects)
        for effect in new:
            assert not self.ended, "an effect after the call had hung up"
            if isinstance(effect, ConnectModel):
                self.session, self.speaking, self.connecting = None, None, True
            elif isinstance(effect, ToModel):
                assert self.session is not None, "said to nobody"
                self.session.hear(effect.event)
            elif isinstance(effect, AudioToModel):
                assert self.session is not None
                assert self.session.configured
            elif isinstance(effect, RunTool):
                self.running[effect.call_id] = effect
                self.commits[effect.call_id] += effect.commit and effect.name == "book"
                assert self.commits[effect.call_id] <= 1, "a write was run twice"
            elif isinstance(effect, LeaveModel):
                self.session, self.speaking, self.connecting = None, None, False
            elif isinstance(effect, HangUp):
                self.ended = True

    def name(self, kind: str) -> str:
        self.number += 1
        return f"{kind}_{self.number}"

    def model(self, kind: str, **fields: Any) -> None:
        if not self.scene.call.ended:
            self.scene.model(kind, **fields)
            self.perform()

    @property
    def up(self) -> bool:
        return not self.scene.call.ended and self.session is not None and self.session.configured

    # Rules: the connection.

    @precondition(lambda self: not self.scene.call.ended and self.connecting)
    @rule()
    def connects(self) -> None:
        self.session, self.connecting = Session(), False
        self.take(self.scene.call.model_connected(now=self.scene.now))

    @precondition(lambda self: not self.scene.call.ended and self.session is not None and not self.session.configured)
    @rule()
    def takes_its_configuration(self) -> None:
        assert self.session is not None
        self.session.configured = True
        self.model("session.updated")
        if self.session is not None and self.session.items:
            self.model("conversation.item.added", item={"status": "completed", "id": "x", **self.session.items[-1]})

    @precondition(lambda self: not self.scene.call.ended and (self.connecting or self.session is not None))
    @rule(code=st.sampled_from(["upstream_closed_1006", "upstream_closed_1001"]))
    def is_lost(self, code: str) -> None:
        self.session, self.speaking, self.connecting = None, None, False
        self.take(self.scene.call.model_lost(code, now=self.scene.now))

    # Rules: the model.

    @precondition(lambda self: self.up and self.session.active is None and self.session.asked)
    @rule()
    def begins_a_response(self) -> None:
        assert self.session is not None
        asked = self.session.asked.pop(0)
        self.begin_response(asked.get("response", {}).get("metadata"))

    def begin_response(self, metadata: dict[str, str] | None) -> None:
        assert self.session is not None
        response_id = self.session.active = self.name("resp")
        self.created[response_id] += 1
        self.model("response.created", response={"id": response_id, "status": "in_progress", "metadata": metadata})

    @precondition(lambda self: self.up and self.session.active is not None)
    @rule(words=st.sampled_from(["We have Tuesday.", "cleaning Monday 10:30 AM"]), ms=st.integers(0, 3000))
    def speaks(self, words: str, ms: int) -> None:
        assert self.session is not None
        ids = {"response_id": self.session.active, "item_id": self.name("item")}
        item = {"id": ids["item_id"], "type": "message", "role": "assistant", "status": "in_progress"}
        self.model("conversation.item.added", item={**item, "content": []})
        self.model("response.output_audio_transcript.delta", **ids, delta=words)
        if ms:
            self.model("response.output_audio.delta", **ids, delta=encode_audio(bytes(ms * MS)))
        content = [{"type": "output_audio", "transcript": words}]
        self.model("conversation.item.done", item={**item, "status": "completed", "content": content})

    @precondition(lambda self: self.up and self.session.active is not None)
    @rule(name=st.sampled_from(["look", "book", "bye", "fly"]))
    def calls_a_function(self, name: str) -> None:
        assert self.session is not None
        call_id = self.name("call")
        self.session.calls[call_id] += 1
        item = {"id": self.name("item"), "type": "function_call", "status": "completed", "call_id": call_id}
        self.model("conversation.item.done", item={**item, "name": name, "arguments": "{}"})

    @precondition(lambda self: self.up and self.session.active is not None)
    @rule(status=st.sampled_from(["completed", "completed", "completed", "cancelled", "failed"]))
    def ends_its_response(self, status: str) -> None:
        assert self.session is not None
        response_id, self.session.active = self.session.active, None
        details = {"type": "failed", "error": {"code": "server_error"}} if status == "failed" else None
        self.model(
            "response.done", response={"id": response_id, "status": status, "output": [], "status_details": details}
        )

    # Rules: the caller.

    @precondition(lambda self: not self.scene.call.ended)
    @rule(words=st.sampled_from(["Yes.", "No, change it.", "I need a cleaning.", "I have chest pain"]))
    def types(self, words: str) -> None:
        item_id = self.name("typed")
        item = {"id": item_id, "type": "message", "role": "user", "content": [{"type": "input_text", "text": words}]}
        self.scene.caller("conversation.item.create", item=item)
        if not self.scene.call.ended:
            self.scene.caller("response.create")
        self.perform()
        if self.up and self.session is not None and any(each.get("id") == item_id for each in self.session.items):
            self.model("conversation.item.added", item=item)

    @precondition(lambda self: self.up and self.speaking is None)
    @rule()
    def begins_to_speak(self) -> None:
        assert self.session is not None
        self.speaking = self.name("speech")
        self.model("input_audio_buffer.speech_started", item_id=self.speaking, audio_start_ms=0)
        if self.session is not None and self.session.active is not None:  # upstream interrupts by itself
            response_id, self.session.active = self.session.active, None
            self.model("response.done", response={"id": response_id, "status": "cancelled", "output": []})

    @precondition(lambda self: self.up and self.speaking is not None)
    @rule(words=st.sampled_from(["Yes.", "Tuesday, please.", None]))
    def has_spoken(self, words: str | None) -> None:
        assert self.session is not None
        item_id, self.speaking = self.speaking, None
        self.model("input_audio_buffer.speech_stopped", item_id=item_id, audio_end_ms=500)
        self.model("input_audio_buffer.committed", item_id=item_id)
        body = {"id": item_id, "type": "message", "role": "user", "content": [{"type": "input_audio"}]}
        self.model("conversation.item.added", item=body)
        if words is not None:
            kind = "conversation.item.input_audio_transcription.completed"
            self.model(kind, item_id=item_id, transcript=words)
        if self.up and self.session is not None and self.session.active is None and not self.session.asked:
            self.begin_response(None)

    @precondition(lambda self: not self.scene.call.ended)
    @rule()
    def sends_sound(self) -> None:
        self.scene.caller("input_audio_buffer.append", audio=encode_audio(bytes(40 * MS)))
        self.perform()

    @precondition(lambda self: not self.scene.call.ended and not self.away)
    @rule(code=st.sampled_from([1000, 1001, 1006, 1006, 1006]))
    def leaves(self, code: int) -> None:
        self.away = True
        self.take(self.scene.call.caller_left(now=self.scene.now, code=code))

    @precondition(lambda self: not self.scene.call.ended and self.away)
    @rule()
    def comes_back(self) -> None:
        self.away = False
        self.returns.append(len(self.scene.effects))
        self.take(self.scene.call.caller_back(now=self.scene.now, token="next"))

    @precondition(lambda self: not self.scene.call.ended)
    @rule()
    def sends_too_much(self) -> None:
        self.take(self.scene.call.too_fast(now=self.scene.now))

    # Rules: tools, money and time.

    @precondition(lambda self: not self.scene.call.ended)
    @rule(standing=st.sampled_from(Standing))
    def its_budget_stands(self, standing: Standing) -> None:
        self.take(self.scene.call.from_ledger(standing, now=self.scene.now))

    @precondition(lambda self: not self.scene.call.ended and self.running)
    @rule(ok=st.booleans())
    def tool_is_done(self, ok: bool) -> None:
        call_id, tool = self.running.popitem()
        self.take(self.scene.call.from_tool(call_id, self.result(tool, ok=ok), now=self.scene.now))

    def result(self, tool: RunTool, *, ok: bool) -> ToolResult:
        if tool.name == "book":
            return booked() if tool.commit else recap()
        return looked() if ok else ToolResult({"status": "error", "error_code": "unavailable"}, ok=False)

    @rule(seconds=st.sampled_from([0.05, 0.5, 2.0, 9.0, 25.0]))
    def time_passes(self, seconds: float) -> None:
        self.scene.at(self.scene.now + seconds)
        self.perform()

    # What always holds.

    @invariant()
    def the_end_is_told_once_and_last(self) -> None:
        if not hasattr(self, "scene"):
            return
        ends = [e for e in self.scene.effects if isinstance(e, Record) and isinstance(e.fact, CallEnded)]
        assert len(ends) == sum(isinstance(e, HangUp) for e in self.scene.effects) == int(self.scene.call.ended)

    @invariant()
    def a_write_had_a_yes(self) -> None:
        if hasattr(self, "scene"):
            assert all(run.confirmed_by and run.digest for run in self.scene.runs(commit=True) if run.name == "book")

    def teardown(self) -> None:
        if not hasattr(self, "scene"):
            return
        if not self.scene.call.ended:
            self.take(self.scene.call.stop("interrupted", now=self.scene.now))
        for begins, ends in zip([0, *self.returns], [*self.returns, len(self.scene.effects)], strict=True):
            effects = self.scene.effects[begins:ends]
            events = [effect.event for effect in effects if isinstance(effect, ToCaller)]
            told = Counter(event["response"]["id"] for event in events if event["type"] == "response.created")
            assert set(told.values()) <= {1}, "a response was told twice on one socket"


TestCallMachine = CallMachine.TestCase
TestCallMachine.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
