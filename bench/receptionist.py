"""A Realtime upstream for one patient in a browser: it greets, hears a voice by its loudness, gives way and answers.

It answers at once, but for the silence that it waits for, and notes when it heard and when it said what: the time of
day, since that is the only clock that a browser's audio thread reads. When a call is over, all its notes are printed as
one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gc
import json
import time
from itertools import count
from typing import Any

import uvloop

from bench.frames import ServerEnd
from bench.patient import tone, voiced

SILENCE_S = 0.5  # after the last frame with a voice in it the patient is taken to have ended
LEARNS_S = 1.5  # of a greeting that is heard before a voice counts: the page's echo guard must know the room
CHUNK_MS, GREETING_MS, ANSWER_MS = 100, 12_000, 1_000

_numbers = count(1)


def chunks(pcm: bytes) -> list[str]:
    step = CHUNK_MS * 48
    return [base64.b64encode(pcm[at : at + step]).decode() for at in range(0, len(pcm), step)]


GREETING, ANSWER = chunks(tone(GREETING_MS)), chunks(tone(ANSWER_MS, hertz=660))


class Receptionist(ServerEnd):
    def __init__(self) -> None:
        super().__init__()
        self._notes: list[tuple[str, float]] = []
        self._sound = GREETING
        self._speaking = False  # the patient
        self._hears_from: float | None = None
        self._ending: asyncio.TimerHandle | None = None

    def note(self, name: str) -> None:
        self._notes.append((name, time.time_ns() / 1e6))

    def tell(self, kind: str, **fields: Any) -> None:
        text = json.dumps({"type": kind, "event_id": f"event_{next(_numbers)}", **fields}, separators=(",", ":"))
        self.send(text.encode())

    def on_head(self, head: bytes) -> None:
        self.note("asked")
        super().on_head(head)

    def on_open(self) -> None:
        self.tell("session.created", session={"type": "realtime", "id": f"sess_{next(_numbers)}"})
        self.note("created")

    def on_message(self, payload: bytes) -> None:
        event = json.loads(payload)
        hear = getattr(self, f"on_{event['type'].replace('.', '_')}", None)
        if hear is not None:
            hear(event)

    def on_session_update(self, event: dict[str, Any]) -> None:
        self.note("update")
        self.tell("session.updated", session=event["session"])
        self.note("updated")

    def on_response_create(self, event: dict[str, Any]) -> None:
        self.note("create")
        self._respond(event.get("response") or {})

    def on_conversation_item_truncate(self, event: dict[str, Any]) -> None:
        fields = {name: event[name] for name in ("item_id", "content_index", "audio_end_ms")}
        self.tell("conversation.item.truncated", **fields)

    def on_input_audio_buffer_append(self, event: dict[str, Any]) -> None:
        now = asyncio.get_running_loop().time()
        if self._hears_from is None or now < self._hears_from or not voiced(base64.b64decode(event["audio"])):
            return
        self.note("voice")
        if self._ending is not None:
            self._ending.cancel()
        self._ending = asyncio.get_running_loop().call_later(SILENCE_S, self._ended)
        if not self._speaking:
            self._speaking = True
            self._item = f"item_{next(_numbers)}"
            self.tell("input_audio_buffer.speech_started", item_id=self._item, audio_start_ms=0)
            self.note("started")

    def _ended(self) -> None:
        self._speaking, self._ending = False, None
        self.tell("input_audio_buffer.speech_stopped", item_id=self._item, audio_end_ms=0)
        self.tell("input_audio_buffer.committed", item_id=self._item, previous_item_id=None)
        said = {"id": self._item, "type": "message", "role": "user", "status": "completed"}
        content = [{"type": "input_audio", "transcript": None}]
        self.tell("conversation.item.added", item={**said, "content": content}, previous_item_id=None)
        self.tell("conversation.item.done", item={**said, "content": content}, previous_item_id=None)
        self._respond({})

    def _respond(self, wish: dict[str, Any]) -> None:
        """Say all of the next sound at once, far faster than it is heard."""
        number = next(_numbers)
        response = {
            "object": "realtime.response",
            "id": f"resp_{number}",
            "status": "in_progress",
            "status_details": None,
            "output": [],
            "output_modalities": ["audio"],
            "metadata": wish.get("metadata"),
            "usage": None,
        }
        item = {"id": f"item_{number}", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        of_response = {"response_id": response["id"], "output_index": 0}
        of_part = {**of_response, "item_id": item["id"], "content_index": 0}
        self.tell("response.created", response=response)
        self.tell("response.output_item.added", item=item, **of_response)
        self.tell("conversation.item.added", item=item, previous_item_id=None)
        self.tell("response.content_part.added", part={"type": "audio", "transcript": ""}, **of_part)
        for place, chunk in enumerate(self._sound):
            self.tell("response.output_audio.delta", delta=chunk, **of_part)
            if place == 0:
                self.note("delta")
        said = {**item, "status": "completed", "content": [{"type": "output_audio", "transcript": "Hello."}]}
        self.tell("response.output_audio.done", **of_part)
        self.tell("response.output_audio_transcript.done", transcript="Hello.", **of_part)
        self.tell("response.content_part.done", part={"type": "audio", "transcript": "Hello."}, **of_part)
        self.tell("conversation.item.done", item=said, previous_item_id=None)
        self.tell("response.output_item.done", item=said, **of_response)
        self.tell("response.done", response={**response, "status": "completed", "output": [said]})
        greeted = self._sound is GREETING  # and what is said is answered once
        self._hears_from = asyncio.get_running_loop().time() + LEARNS_S if greeted else None
        self._sound = ANSWER

    def on_closed(self, code: int) -> None:
        if self._ending is not None:
            self._ending.cancel()
        if self._notes:  # whoever only looked whether the port listens has left none
            print(json.dumps(self._notes), flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    server = await asyncio.get_running_loop().create_server(Receptionist, "127.0.0.1", parser.parse_args().port)
    gc.freeze()
    gc.disable()
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
