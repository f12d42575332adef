"""What a call counts: its events, once each, and its tokens. Pure."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Any

from sessions_app.cost import add_transcription_usage, add_usage
from sessions_app.effects import EventSeen, Record

REMEMBERED_EVENT_IDS = 1024  # one that comes twice comes soon: these are 20 s and more
MAX_STORED_EVENTS = 20_000  # a row each; beyond it a call's events are only counted

# Too many to store one by one, and all of them speech or its words.
COUNTED = frozenset(
    {
        "input_audio_buffer.append",
        "response.output_audio.delta",
        "response.output_audio_transcript.delta",
        "response.output_text.delta",
        "response.function_call_arguments.delta",
        "conversation.item.input_audio_transcription.delta",
        "frontdesk.playback",
        "frontdesk.sound",
    }
)

# What a caller can have written at will: of each kind so many are a row each, and all of them are counted. A flood of
# them took the recorder's thread 80 ms of the processor's time, which the sound of every other call waited for.
MAX_STORED_ASKED = 200
ANSWERS = frozenset({"error", "conversation.item.retrieved", "conversation.item.truncated", "session.updated"})

# How sound is counted, 25 times a second and more each: by the names that `count` would make.
SOUND_FROM_CALLER, SOUND_TO_MODEL = "from_caller:input_audio_buffer.append", "to_model:input_audio_buffer.append"
SOUND_FROM_MODEL, SOUND_TO_CALLER = "from_model:response.output_audio.delta", "to_caller:response.output_audio.delta"


class Tally:
    def __init__(self, call_id: str) -> None:
        self._call_id = call_id.replace("-", "")[:12]
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._sent = 0
        self._seq = 0
        self.counters: Counter[str] = Counter()
        self.usage: dict[str, int] = {}

    def restore(self, *, seq: int, usage: dict[str, int], ids_from: int) -> None:
        """Go on from what another process has counted."""
        self._seq, self.usage, self._sent = seq, dict(usage), ids_from

    def new_session(self) -> None:
        """A new session names its events anew."""
        self._seen.clear()

    def first_time(self, event_id: str) -> bool:
        """Whether this event of the model is new. One without an id always is."""
        if not event_id:
            return True
        if event_id in self._seen:
            self.counters["duplicates"] += 1
            return False
        self._seen[event_id] = None
        if len(self._seen) > REMEMBERED_EVENT_IDS:
            self._seen.popitem(last=False)
        return True

    def new_id(self, prefix: str) -> str:
        """Return an id of our own, unique in the call."""
        self._sent += 1
        return f"{prefix}_{self._call_id}{self._sent:06d}"

    def counts_only(self, direction: str, kind: str) -> bool:
        """Whether of an event of this kind nothing is kept but that it was there."""
        asked = direction == "from_caller" or (direction == "to_caller" and kind in ANSWERS)
        enough = asked and self.counters[f"{direction}:{kind}"] > MAX_STORED_ASKED
        return kind in COUNTED or enough or self._seq >= MAX_STORED_EVENTS

    def count(self, direction: str, kind: str) -> None:
        self.counters[f"{direction}:{kind}"] += 1

    def note(self, direction: str, kind: str, at: int, fields: dict[str, Any] | None = None) -> list[Record]:
        """Count an event, and return the record of it unless it is of a kind that is only counted."""
        self.count(direction, kind)
        if self.counts_only(direction, kind):
            return []
        self._seq += 1
        return [Record(EventSeen(self._seq, direction, kind, at, fields or {}))]

    def spend(self, usage: dict[str, Any] | None) -> None:
        self.usage = add_usage(self.usage, usage)

    def spend_transcription(self, usage: dict[str, Any] | None) -> None:
        self.usage = add_transcription_usage(self.usage, usage)
