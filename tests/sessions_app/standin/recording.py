"""A client that records what the stand-in sends, each event checked by the official types."""

from __future__ import annotations

import asyncio
import contextlib
import json
import typing
from collections.abc import AsyncIterator
from typing import Any

from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from sessions_app.standin.server import Standin

Json = dict[str, Any]

TIMEOUT_S = 20
MAX_MESSAGE_BYTES = 16 * 1024 * 1024


def _adapters() -> dict[str, TypeAdapter[Any]]:
    union = typing.get_args(RealtimeServerEvent)[0]
    classes = typing.get_args(union)
    return {typing.get_args(one.model_fields["type"].annotation)[0]: TypeAdapter(one) for one in classes}


ADAPTERS = _adapters()


def check(event: Json) -> None:
    """Raise if the official package does not know the event, or not so."""
    ADAPTERS[event["type"]].validate_python(event)
    if event["type"] != "input_audio_buffer.dtmf_event_received":
        assert event["event_id"].startswith("event_")


class RecordingClient:
    """Keeps every event it was sent; fails on one that the official types refuse."""

    def __init__(self, socket: ClientConnection, *, checked: bool = True) -> None:
        self.socket = socket
        self.events: list[Json] = []
        self._checked = checked

    async def send(self, kind: str, **fields: object) -> None:
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def next(self) -> Json:
        async with asyncio.timeout(TIMEOUT_S):
            event: Json = json.loads(await self.socket.recv())
        if self._checked:
            check(event)
        self.events.append(event)
        return event

    async def until(self, *kinds: str) -> list[Json]:
        """Return the events up to the first of one of these kinds, that one included."""
        got = [await self.next()]
        while got[-1]["type"] not in kinds:
            got.append(await self.next())
        return got

    async def configure(self, **session: object) -> Json:
        """Send a session.update and return the session that it led to."""
        await self.send("session.update", session={"type": "realtime", **session})
        return typing.cast(Json, (await self.until("session.updated"))[-1]["session"])

    async def say(self, text: str) -> None:
        content = [{"type": "input_text", "text": text}]
        await self.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})

    async def answer(self, **response: object) -> list[Json]:
        """Ask for a response and return its events, up to the rate limits that follow it."""
        await self.send("response.create", response=response)
        return await self.until("rate_limits.updated", "error")


@contextlib.asynccontextmanager
async def client_of(
    standin: Standin,
    query: str = "model=gpt-realtime-2.1",
    *,
    key: str = "sk-test",
    subprotocols: list[str] | None = None,
    headers: dict[str, str] | None = None,
    greeted: bool = True,
    checked: bool = True,
) -> AsyncIterator[RecordingClient]:
    """Connect to a stand-in; the first event is read, unless `greeted` is false."""
    offered = [Subprotocol(one) for one in subprotocols] if subprotocols else None
    authorization = {} if subprotocols else {"Authorization": f"Bearer {key}"}
    async with connect(
        f"{standin.url}/realtime?{query}",
        additional_headers={**authorization, **(headers or {})},
        subprotocols=offered,
        max_size=MAX_MESSAGE_BYTES,
    ) as socket:
        client = RecordingClient(socket, checked=checked)
        if greeted:
            assert (await client.next())["type"] == "session.created"
        yield client


def kinds(events: list[Json]) -> list[str]:
    """Return the types of events, with runs of one kind of delta as one."""
    found: list[str] = []
    for event in events:
        if not (found and found[-1] == event["type"] and event["type"].endswith(".delta")):
            found.append(event["type"])
    return found


def said(events: list[Json]) -> str:
    """Return the words of the assistant's messages in a `response.done`."""
    done = next(event for event in events if event["type"] == "response.done")
    parts = [part for item in done["response"]["output"] for part in item.get("content", [])]
    return " ".join(part.get("text") or part.get("transcript") or "" for part in parts)


def function(name: str, description: str, /, *required: str, **properties: Json) -> Json:
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "function", "name": name, "description": description, "parameters": parameters}
