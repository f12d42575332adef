"""A Realtime upstream that gives each frame of the caller's back as a reply's sound, byte for byte, at once.

`python -m tests.faults.echo_upstream --port 0` runs it as a process; `running_echo()` in this one.

A call takes the normal path: the session is configured, the greeting is a response, and what is echoed is the sound of
replies that the upstream begins by itself after a committed turn, as the service does with voice activity detection. A
reply ends after `REPLY_MS` of sound and the next frame begins the next one, so that items, transcripts and usage are
recorded as in a call. Typed messages are answered with their own words. It never says that speech has begun: nothing of
a reply is cut. Unlike the stand-in it hears nothing and checks nothing: it is there to be cheap.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import sys
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from tests.faults.wire import Wire

HOST = "127.0.0.1"
REPLY_MS = 10_000
KEPT = 10_000  # sessions, and events but sound
GREETING_MS = 200
APPEND = b'{"type":"input_audio_buffer.append","audio":"'
BYTES_PER_MS = 48
WORDS = "You said that, and I say it again."

Json = dict[str, Any]


class Echo:
    """One session."""

    def __init__(self, server: EchoUpstream) -> None:
        self._server = server
        self.wire = Wire(self._take, client=False)
        self.wire.opened.add_done_callback(lambda _: self._greet())
        self._ids = itertools.count(1)
        self._reply: Reply | None = None
        self._typed = ""
        self._modalities = ["audio"]
        self.frames = 0
        self.turns: list[str] = []  # the items of the caller's speech
        self.received: deque[Json] = deque(maxlen=KEPT)

    def emit(self, kind: str, **fields: Any) -> None:
        self.wire.send(json.dumps({"type": kind, "event_id": self.new_id("event"), **fields}))

    def new_id(self, prefix: str) -> str:
        return f"{prefix}_{next(self._ids):08d}"

    def _greet(self) -> None:
        if self.wire.opened.exception() is None:
            self.emit("session.created", session={"type": "realtime", "id": self.new_id("sess")})

    def _take(self, text: bytes) -> None:
        if text.startswith(APPEND):  # the wire's every frame: not parsed as JSON
            self._echo(text[len(APPEND) : text.rindex(b'"')])
            return
        event = json.loads(text)
        if event["type"] == "input_audio_buffer.append":
            self._echo(event["audio"].encode())
            return
        self._server.received.append(event)
        self.received.append(event)
        react = getattr(self, "_on_" + event["type"].replace(".", "_"), None)
        if react is not None:
            react(event)

    def _echo(self, sound: bytes) -> None:
        self.frames += 1
        if self._reply is None:
            self._turn()
            self._reply = Reply(self, {})
        self._reply.sound(sound)
        if self._reply.sent_ms >= self._server.reply_ms:
            self._reply.end("completed")
            self._reply = None

    def _turn(self) -> None:
        """The caller's turn that the reply answers."""
        item_id = self.new_id("item")
        self.turns.append(item_id)
        self.emit("input_audio_buffer.committed", item_id=item_id, previous_item_id=None)
        content: list[Json] = [{"type": "input_audio", "transcript": None}]
        item = {"id": item_id, "type": "message", "role": "user", "status": "completed", "content": content}
        self.emit("conversation.item.added", item=item)
        self.emit("conversation.item.done", item=item)
        if self._server.transcribes:
            self.transcribe(item_id)

    def transcribe(self, item_id: str) -> None:
        kind = "conversation.item.input_audio_transcription.completed"
        usage = {"type": "duration", "seconds": 1}
        self.emit(kind, item_id=item_id, content_index=0, transcript=WORDS, usage=usage)

    def _on_session_update(self, event: Json) -> None:
        self._modalities = event["session"].get("output_modalities", self._modalities)
        self.emit("session.updated", session=event["session"])

    def _on_conversation_item_create(self, event: Json) -> None:
        item = {"id": self.new_id("item"), "status": "completed", **event["item"]}
        if item.get("role") == "user":
            self._typed = " ".join(part.get("text", "") for part in item["content"])
        self.emit("conversation.item.added", item=item)
        self.emit("conversation.item.done", item=item)

    def _on_conversation_item_truncate(self, event: Json) -> None:
        fields = {name: event[name] for name in ("item_id", "content_index", "audio_end_ms")}
        self.emit("conversation.item.truncated", **fields)

    def _on_response_create(self, event: Json) -> None:
        if self._reply is not None:
            body = {"type": "invalid_request_error", "code": "conversation_already_has_active_response"}
            self.emit("error", error={**body, "message": "", "param": None, "event_id": event.get("event_id")})
            return
        reply = Reply(self, event.get("response") or {}, modalities=self._modalities, words=self._typed or WORDS)
        if self._modalities == ["audio"]:
            reply.silence(GREETING_MS)
        reply.end("completed")

    def _on_response_cancel(self, event: Json) -> None:
        if self._reply is not None:
            self._reply.end("cancelled")
            self._reply = None


class Reply:
    """One response with one message, each event in its place."""

    def __init__(self, echo: Echo, settings: Json, *, modalities: list[str] | None = None, words: str = WORDS) -> None:
        self._echo, self._words = echo, words
        self._audible = (modalities or ["audio"]) == ["audio"]
        self.sent_ms = 0.0
        self._body: Json = {
            "object": "realtime.response",
            "id": echo.new_id("resp"),
            "status": "in_progress",
            "status_details": None,
            "output": [],
            "output_modalities": modalities or ["audio"],
            "metadata": settings.get("metadata"),
        }
        self._item: Json = {
            "id": echo.new_id("item"),
            "type": "message",
            "role": "assistant",
            "status": "in_progress",
            "content": [],
        }
        self._ids = {"response_id": self._body["id"], "item_id": self._item["id"]}
        where = {**self._ids, "output_index": 0, "content_index": 0}
        self._where = where
        echo.emit("response.created", response=self._body)
        echo.emit("response.output_item.added", response_id=self._body["id"], output_index=0, item=self._item)
        echo.emit("conversation.item.added", item=self._item)
        echo.emit("response.content_part.added", **where, part=self._part(""))
        kind = "response.output_audio_transcript.delta" if self._audible else "response.output_text.delta"
        echo.emit(kind, **where, delta=words)
        # All of an audio delta but its own id and the sound.
        rest = json.dumps(where)[1:-1]
        self._head = f'{{"type": "response.output_audio.delta", {rest}, "event_id": "'.encode()

    def sound(self, base64_sound: bytes) -> None:
        event_id = self._echo.new_id("event").encode()
        self._echo.wire.send(self._head + event_id + b'", "delta": "' + base64_sound + b'"}')
        self.sent_ms += len(base64_sound) * 3 / 4 / BYTES_PER_MS

    def silence(self, length_ms: int) -> None:
        self.sound(b"AAAA" * (length_ms * BYTES_PER_MS // 3))

    def end(self, status: str) -> None:
        if self._audible:
            self._echo.emit("response.output_audio.done", **self._where)
            self._echo.emit("response.output_audio_transcript.done", **self._where, transcript=self._words)
        else:
            self._echo.emit("response.output_text.done", **self._where, text=self._words)
        self._echo.emit("response.content_part.done", **self._where, part=self._part(self._words))
        self._item |= {"status": "completed" if status == "completed" else "incomplete"}
        kind, key = ("output_audio", "transcript") if self._audible else ("output_text", "text")
        self._item["content"] = [{"type": kind, key: self._words}]
        self._echo.emit("conversation.item.done", item=self._item)
        self._echo.emit("response.output_item.done", response_id=self._body["id"], output_index=0, item=self._item)
        details = None if status == "completed" else {"type": "cancelled", "reason": "client_cancelled"}
        self._body |= {"status": status, "status_details": details, "output": [self._item], "usage": _usage()}
        self._echo.emit("response.done", response=self._body)

    def _part(self, words: str) -> Json:
        return {"type": "audio", "transcript": words} if self._audible else {"type": "text", "text": words}


def _usage() -> Json:
    return {
        "total_tokens": 200,
        "input_tokens": 100,
        "output_tokens": 100,
        "input_token_details": {"text_tokens": 50, "audio_tokens": 50, "cached_tokens": 0},
        "output_token_details": {"text_tokens": 50, "audio_tokens": 50},
    }


class EchoUpstream:
    """The server, and what a test may see of it."""

    def __init__(self, *, reply_ms: int = REPLY_MS, transcribes: bool = True) -> None:
        self.reply_ms, self.transcribes = reply_ms, transcribes
        self.port = 0
        self.sessions: deque[Echo] = deque(maxlen=KEPT)
        self.received: deque[Json] = deque(maxlen=KEPT)
        """The newest events but sound, of every session, in order."""

    def begin(self) -> asyncio.Protocol:
        session = Echo(self)
        self.sessions.append(session)
        return session.wire


@contextlib.asynccontextmanager
async def running_echo(
    *, port: int = 0, reply_ms: int = REPLY_MS, transcribes: bool = True
) -> AsyncIterator[EchoUpstream]:
    """Run an echo inside this process, on a free port of loopback unless one is given."""
    echo = EchoUpstream(reply_ms=reply_ms, transcribes=transcribes)
    server = await asyncio.get_running_loop().create_server(echo.begin, HOST, port, reuse_address=True)
    echo.port = server.sockets[0].getsockname()[1]
    try:
        yield echo
    finally:
        server.close()
        for session in echo.sessions:
            if not session.wire.closed.done() and session.wire.opened.done():
                session.wire.drop()


async def _serve(port: int) -> None:
    async with running_echo(port=port) as echo:
        print(f"echo upstream listening on {HOST}:{echo.port}", flush=True)
        await asyncio.get_running_loop().create_future()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    port = parser.parse_args().port
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
