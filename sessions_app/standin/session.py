"""One session: takes client events, keeps the state, answers with server events. Knows no socket."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from sessions_app.standin.configuration import new_session, updated_session
from sessions_app.standin.conversation import Conversation, Item
from sessions_app.standin.dialogue import vocabulary
from sessions_app.standin.faults import Faults
from sessions_app.standin.hearing import Hearing
from sessions_app.standin.leg import Leg
from sessions_app.standin.playout import Playout
from sessions_app.standin.responses import Responses, Speaker, Stage
from sessions_app.standin.turns import IdleTimer, Turns, announce
from sessions_app.standin.usage import Meter
from sessions_app.standin.wire import (
    Json,
    Refusal,
    invalid_value,
    missing_parameter,
    new_id,
    obfuscation,
    unknown_parameter,
)

SESSION_SECONDS = 3600
RECEIVED_KEPT = 2000
MAX_EVENT_ID = 512
GOING_AWAY = 1001
STREAMING_TRANSCRIBERS = ("gpt-live-transcribe", "gpt-realtime-whisper")
EVENT_FIELDS: dict[str, set[str]] = {
    "session.update": {"session"},
    "input_audio_buffer.append": {"audio"},
    "input_audio_buffer.commit": set(),
    "input_audio_buffer.clear": set(),
    "output_audio_buffer.clear": set(),
    "conversation.item.create": {"item", "previous_item_id"},
    "conversation.item.retrieve": {"item_id"},
    "conversation.item.delete": {"item_id"},
    "conversation.item.truncate": {"item_id", "content_index", "audio_end_ms"},
    "response.create": {"response"},
    "response.cancel": {"response_id"},
}


@dataclass
class Engine:
    """What a server lends to each of its sessions."""

    faults: Faults
    speaker: Speaker
    hearing: Hearing


class Session:
    """The state of one conversation with a client, over a socket or beside a call."""

    def __init__(self, engine: Engine, *, model: str, configuration: Json | None = None, beside_call: bool = False):
        cap_ms = engine.faults.session_cap_ms
        self.lifetime_s = SESSION_SECONDS if cap_ms is None else cap_ms / 1000
        fresh = new_session(session_id=new_id("sess"), model=model, expires_at=round(time.time() + self.lifetime_s))
        self.configuration = {**fresh, **(configuration or {}), "id": fresh["id"], "expires_at": fresh["expires_at"]}
        self.received: deque[Json] = deque(maxlen=RECEIVED_KEPT)
        self.legs: list[Leg] = []
        self._engine = engine
        self._playout = Playout() if beside_call else None
        self._conversation = Conversation()
        self._turns = Turns(self.emit, self._conversation, self.configuration)
        self._idle = IdleTimer(self._nobody_spoke)
        self._tasks = Tasks()
        self._stage = Stage(
            emit=self.emit,
            room=self._room,
            conversation=self._conversation,
            meter=Meter(reasons="realtime-2" in model),
            faults=engine.faults,
            speaker=engine.speaker,
            heard=asyncio.Condition(),
            finished=self._answered,
        )
        self._responses = Responses(self._stage)

    def emit(self, kind: str, **fields: object) -> None:
        event = {"type": kind, "event_id": new_id("event"), **fields}
        for leg in self.legs:
            if kind == "response.created":
                leg.put_noise()
            leg.put(event)
        for following, its_fields in self._playout.after(kind, fields) if self._playout else ():
            self.emit(following, **its_fields)

    def greet(self) -> None:
        self.emit("session.created", session=self.configuration)

    def handle(self, event: object) -> None:
        """Act on one client event, already parsed from JSON; a refusal becomes an `error` event."""
        event_id = event.get("event_id") if isinstance(event, dict) else None
        try:
            self._handle(event)
        except Refusal as refusal:
            self.refuse(refusal, event_id if isinstance(event_id, str) else None)

    def refuse(self, refusal: Refusal, event_id: str | None = None) -> None:
        self.emit("error", error={**refusal.as_error(), "event_id": event_id})

    def expire(self) -> None:
        """End as the service does at its cap: an error, then a clean close."""
        self.refuse(Refusal("session_expired", "Your session hit the maximum duration of 60 minutes."))
        for leg in self.legs:
            leg.close(GOING_AWAY, "session_expired")

    def stop(self) -> None:
        self._idle.stop()
        self._responses.stop()
        self._tasks.stop()

    def _handle(self, event: object) -> None:
        if not isinstance(event, dict):
            raise Refusal("invalid_event", "The event is not valid JSON, or not an object.")
        self.received.append(event)
        kind = event.get("type")
        if kind is None:
            raise missing_parameter("type")
        if not isinstance(kind, str) or kind not in EVENT_FIELDS:
            listed = ", ".join(f"'{one}'" for one in sorted(EVENT_FIELDS))
            raise invalid_value("type", f"Invalid value: '{kind}'. Supported values are: {listed}.")
        _check_event_id(event.get("event_id"))
        for key in event:
            if key not in EVENT_FIELDS[kind] | {"type", "event_id"}:
                raise unknown_parameter(key)
        handler: Callable[[Json], None] = getattr(self, "_on_" + kind.replace(".", "_"))
        handler(event)

    def _on_session_update(self, event: Json) -> None:
        self.configuration = updated_session(
            self.configuration,
            event.get("session"),
            audio_was_spoken=self._conversation.has_assistant_audio(),
        )
        self._turns.configure(self.configuration)
        if not self._engine.faults.withhold_session_updated:
            self.emit("session.updated", session=self.configuration)

    def _on_input_audio_buffer_append(self, event: Json) -> None:
        self._engine.hearing.warm_up()
        self._turns.append(event.get("audio"))
        while notice := self._turns.next_notice():
            if notice == "started":
                self._speech_started()
            else:
                self._turn_ended(*self._turns.commit())

    def _on_input_audio_buffer_commit(self, event: Json) -> None:
        self._listen(*self._turns.commit())

    def _on_input_audio_buffer_clear(self, event: Json) -> None:
        self._turns.clear()
        self.emit("input_audio_buffer.cleared")

    def _on_output_audio_buffer_clear(self, event: Json) -> None:
        if self._playout is None:
            raise Refusal("invalid_event", "output_audio_buffer.clear is for WebRTC and SIP calls.")
        for kind, fields in self._playout.clear():
            self.emit(kind, **fields)

    def _on_conversation_item_create(self, event: Json) -> None:
        item, before = self._conversation.create(event.get("item"), event.get("previous_item_id"))
        announce(self.emit, item, before)

    def _on_conversation_item_retrieve(self, event: Json) -> None:
        self.emit("conversation.item.retrieved", item=self._conversation.retrieve(_item_id(event)))

    def _on_conversation_item_delete(self, event: Json) -> None:
        self._conversation.delete(_item_id(event))
        self.emit("conversation.item.deleted", item_id=event["item_id"])

    def _on_conversation_item_truncate(self, event: Json) -> None:
        self._conversation.truncate(_item_id(event), event.get("content_index"), event.get("audio_end_ms"))
        self.emit(
            "conversation.item.truncated",
            item_id=event["item_id"],
            content_index=0,
            audio_end_ms=event["audio_end_ms"],
        )

    def _on_response_create(self, event: Json) -> None:
        self._responses.create(self.configuration, event.get("response"))
        self._idle.stop()

    def _on_response_cancel(self, event: Json) -> None:
        self._responses.cancel(event.get("response_id"), "client_cancelled")

    def _speech_started(self) -> None:
        self._idle.stop()
        active, turn_detection = self._responses.active, self._turns.turn_detection
        if active and turn_detection and turn_detection["interrupt_response"]:
            active.cancel("turn_detected")

    def _turn_ended(self, item: Item, pcm: bytes) -> None:
        self._listen(item, pcm)
        turn_detection = self._turns.turn_detection
        # With interrupt_response off an answer may still run: then this one is skipped, as at the service.
        if turn_detection and turn_detection["create_response"] and not self._responses.active:
            self._responses.create(self.configuration, None)

    def _listen(self, item: Item, pcm: bytes) -> None:
        self._tasks.start(self._hear(item, pcm))

    async def _hear(self, item: Item, pcm: bytes) -> None:
        likely = vocabulary([tool for tool in self.configuration["tools"] if tool["type"] == "function"])
        words = await self._engine.hearing.recognise(pcm, likely) if pcm else ""
        async with self._stage.heard:
            item.heard, item.deaf = words or "", words is None
            self._stage.heard.notify_all()
        faults, transcription = self._engine.faults, self.configuration["audio"]["input"]["transcription"]
        if transcription is None or faults.no_transcript:
            return
        if faults.late_transcript_ms:
            await asyncio.sleep(faults.late_transcript_ms / 1000)
        self._tell_transcript(item, None if faults.transcript_failed else words, transcription.get("model", ""))

    def _tell_transcript(self, item: Item, words: str | None, transcriber: str) -> None:
        kind = "conversation.item.input_audio_transcription"
        where: Json = {"item_id": item.id, "content_index": 0}
        if words is None:
            error = {
                "type": "server_error",
                "code": "transcription_failed",
                "message": "The audio could not be transcribed.",
                "param": None,
            }
            self.emit(f"{kind}.failed", **where, error=error)
            return
        item.wire["content"] = [{"type": "input_audio", "transcript": words}]
        if transcriber in STREAMING_TRANSCRIBERS:
            for place, word in enumerate(words.split()):
                self.emit(f"{kind}.delta", **where, delta=word if place == 0 else f" {word}", obfuscation=obfuscation())
        usage = {"type": "duration", "seconds": round(item.audio_ms / 1000, 1)}
        self.emit(f"{kind}.completed", **where, transcript=words, usage=usage)

    def _answered(self, audio_ms: float) -> None:
        self._idle.restart(self._turns.turn_detection, audio_ms)

    def _nobody_spoke(self, idle_timeout_ms: int) -> None:
        self._turn_ended(*self._turns.time_out(idle_timeout_ms))

    async def _room(self) -> None:
        for leg in self.legs:
            await leg.room()


class Tasks:
    """The tasks of a session, which end with it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()


def _check_event_id(event_id: object) -> None:
    if event_id is not None and not isinstance(event_id, str):
        raise Refusal("invalid_type", "Invalid type for 'event_id': expected a string.", param="event_id")
    if event_id is not None and len(event_id) > MAX_EVENT_ID:
        raise Refusal("string_above_max_length", "Invalid 'event_id': string too long.", param="event_id")


def _item_id(event: Json) -> str:
    item_id = event.get("item_id")
    if not isinstance(item_id, str):
        raise missing_parameter("item_id")
    return item_id
