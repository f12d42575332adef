"""The output items of a response as they grow: a message spoken or written, a function call.

Each owns the order of its own events, from the first `added` to the last `done`, however early it is cut.
"""

import base64
import json
from typing import Protocol

from sessions_app.standin.conversation import Conversation, Item
from sessions_app.standin.leg import Emit
from sessions_app.standin.usage import Spoken
from sessions_app.standin.wire import Json, new_id, obfuscation

ARGUMENT_CHUNK = 9


class Place:
    """Where a response's items go: their index in it, and the conversation unless it is out of band."""

    def __init__(self, emit: Emit, response: Json, conversation: Conversation | None) -> None:
        self.emit = emit
        self.response_id: str = response["id"]
        self.spoken = Spoken()
        self._output: list[Json] = response["output"]
        self._conversation = conversation

    def begin(self, item: Item) -> int:
        """Announce an item; return its output_index."""
        index = len(self._output)
        self._output.append(item.wire)
        self.emit("response.output_item.added", response_id=self.response_id, output_index=index, item=item.wire)
        if self._conversation:
            before = self._conversation.add(item)
            self.emit("conversation.item.added", previous_item_id=before, item=item.wire)
        return index

    def finish(self, item: Item, index: int) -> None:
        if self._conversation:
            self.emit("conversation.item.done", previous_item_id=None, item=item.wire)
        self.emit("response.output_item.done", response_id=self.response_id, output_index=index, item=item.wire)


class OutputItem(Protocol):
    """What a response has open, and must close when it is cut."""

    def close(self, status: str) -> None: ...


class Message:
    """An assistant message in one modality: `["audio"]` has a transcript and sound, `["text"]` text."""

    def __init__(self, place: Place, *, audible: bool, phase: str) -> None:
        self._place = place
        self._audible = audible
        self._text = ""
        self._item = Item(
            {
                "id": new_id("item"),
                "type": "message",
                "status": "in_progress",
                "role": "assistant",
                "phase": phase,
                "content": [],
            }
        )
        self._index = place.begin(self._item)
        self._emit_part("response.content_part.added", part=self._part())

    def add_text(self, delta: str) -> None:
        self._text += delta
        self._place.spoken.text += delta
        kind = "output_audio_transcript" if self._audible else "output_text"
        self._emit_part(f"response.{kind}.delta", delta=delta, obfuscation=obfuscation())

    def add_audio(self, audio: bytes, ms: float) -> None:
        self._item.audio_ms += ms
        self._place.spoken.audio_ms += ms
        self._emit_part("response.output_audio.delta", delta=base64.b64encode(audio).decode())

    def close(self, status: str) -> None:
        if self._audible:
            self._emit_part("response.output_audio.done")
            self._emit_part("response.output_audio_transcript.done", transcript=self._text)
        else:
            self._emit_part("response.output_text.done", text=self._text)
        self._emit_part("response.content_part.done", part=self._part())
        if not self._item.cut:
            key, kind = ("transcript", "output_audio") if self._audible else ("text", "output_text")
            self._item.wire["content"] = [{"type": kind, key: self._text}]
        self._item.wire["status"] = status
        self._place.finish(self._item, self._index)

    def _part(self) -> Json:
        return {"type": "audio", "transcript": self._text} if self._audible else {"type": "text", "text": self._text}

    def _emit_part(self, kind: str, **fields: object) -> None:
        self._place.emit(
            kind,
            response_id=self._place.response_id,
            item_id=self._item.id,
            output_index=self._index,
            content_index=0,
            **fields,
        )


class FunctionCall:
    """A function call whose arguments stream, whitespace included."""

    def __init__(self, place: Place, *, name: str, call_id: str) -> None:
        self._place = place
        self._arguments = ""
        self._item = Item(
            {
                "id": new_id("item"),
                "type": "function_call",
                "status": "in_progress",
                "name": name,
                "call_id": call_id,
                "arguments": "",
            }
        )
        self._index = place.begin(self._item)

    def add_arguments(self, delta: str) -> None:
        self._arguments += delta
        self._place.spoken.text += delta
        self._emit("response.function_call_arguments.delta", delta=delta, obfuscation=obfuscation())

    def close(self, status: str) -> None:
        self._item.wire |= {"arguments": self._arguments, "status": status}
        self._emit("response.function_call_arguments.done", name=self._item.wire["name"], arguments=self._arguments)
        self._place.finish(self._item, self._index)

    def _emit(self, kind: str, **fields: object) -> None:
        self._place.emit(
            kind,
            response_id=self._place.response_id,
            item_id=self._item.id,
            output_index=self._index,
            call_id=self._item.wire["call_id"],
            **fields,
        )


def argument_chunks(arguments: object) -> list[str]:
    """Return the JSON of `arguments` in pieces, with the line breaks and blanks a model writes."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, indent=2)
    return [text[start : start + ARGUMENT_CHUNK] for start in range(0, len(text), ARGUMENT_CHUNK)] or [""]
