"""A Realtime upstream that costs next to nothing: one endless reply, in which each frame comes straight back.

Speaks as much of the GA protocol as a receptionist needs to be in the middle of a call: the session, one response with
its item and part, then an audio delta for each append. Where the session has the tool `SLOW_TOOL`, the model calls it
twice a second instead: that is the other call, whose query is slow. It never parses an append.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
from itertools import count
from typing import Any

import uvloop

from bench.frames import ServerEnd

SLOW_TOOL = "bench_slow_query"
SLOW_EVERY_S = 0.5
APPEND = b'"input_audio_buffer.append"'
AUDIO_KEY = b'"audio":"'

_numbers = count(1)


def event(kind: str, **fields: Any) -> bytes:
    return json.dumps({"type": kind, "event_id": f"event_{next(_numbers)}", **fields}, separators=(",", ":")).encode()


class Upstream(ServerEnd):
    def on_open(self) -> None:
        number = next(_numbers)
        self._response, self._item = f"resp_{number}", f"item_{number}"
        self._delta = (
            f'{{"type":"response.output_audio.delta","response_id":"{self._response}","item_id":"{self._item}",'
            f'"output_index":0,"content_index":0,"event_id":"event_'
        ).encode()
        self._replying = self._slow = False
        self.send(event("session.created", session={"type": "realtime", "id": f"sess_{number}"}))

    def on_message(self, payload: bytes) -> None:
        if APPEND not in payload[:64]:
            self._on_event(json.loads(payload))
        elif self._replying:
            start = payload.index(AUDIO_KEY) + len(AUDIO_KEY)
            audio = payload[start : payload.index(b'"', start)]
            self.send(b'%s%d","delta":"%s"}' % (self._delta, next(_numbers), audio))

    def _on_event(self, message: dict[str, Any]) -> None:
        if message["type"] == "session.update":
            self._slow = any(tool["name"] == SLOW_TOOL for tool in message["session"].get("tools", []))
            self.send(event("session.updated", session=message["session"]))
        elif message["type"] == "response.create" and self._slow:
            self._respond_with_call(message)
        elif message["type"] == "response.create" and not self._replying:
            self._reply(message)

    def _reply(self, message: dict[str, Any]) -> None:
        ids = {"response_id": self._response, "output_index": 0}
        item = {"id": self._item, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        part = {"type": "audio", "transcript": ""}
        self.send(event("response.created", response=_response(self._response, message, "in_progress")))
        self.send(event("response.output_item.added", item=item, **ids))
        self.send(event("conversation.item.added", item=item, previous_item_id=None))
        self.send(event("response.content_part.added", item_id=self._item, content_index=0, part=part, **ids))
        self._replying = True

    def _respond_with_call(self, message: dict[str, Any]) -> None:
        response_id = f"resp_{next(_numbers)}"
        call = {
            "id": f"item_{next(_numbers)}",
            "type": "function_call",
            "status": "completed",
            "name": SLOW_TOOL,
            "call_id": f"call_{next(_numbers)}",
            "arguments": "{}",
        }
        self.send(event("response.created", response=_response(response_id, message, "in_progress")))
        self.send(event("conversation.item.added", item=call, previous_item_id=None))
        self.send(event("conversation.item.done", item=call, previous_item_id=None))
        asyncio.get_running_loop().call_later(SLOW_EVERY_S, self._end_response, response_id, message)

    def _end_response(self, response_id: str, message: dict[str, Any]) -> None:
        # A turn of the caller's first: the calls of one turn are limited.
        self.send(event("input_audio_buffer.committed", item_id=f"item_{next(_numbers)}", previous_item_id=None))
        self.send(event("response.done", response=_response(response_id, message, "completed")))


def _response(response_id: str, message: dict[str, Any], status: str) -> dict[str, Any]:
    metadata = (message.get("response") or {}).get("metadata")
    return {
        "object": "realtime.response",
        "id": response_id,
        "status": status,
        "status_details": None,
        "output": [],
        "output_modalities": ["audio"],
        "metadata": metadata,
        "usage": None,
    }


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    server = await asyncio.get_running_loop().create_server(
        Upstream, "127.0.0.1", parser.parse_args().port, backlog=2048
    )
    gc.freeze()
    gc.disable()
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
