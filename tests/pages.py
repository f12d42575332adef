"""A caller's page for tests: plays what it is sent, loses its line, comes back with its token, and hears on.

It speaks over a real socket, as the page's script does; what it hears is kept by item, so that a test can say whether
every sample was heard, and once.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import struct
import uuid
from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from agents_app.models import Agent
from agents_app.tools import registered_tools
from tests.make_practice import make_practice
from tests.servers import live_agent

MS = 48  # bytes of sound
PATIENCE_S = 30.0
MAX_FRAME_BYTES = 16 * 1024 * 1024

Json = dict[str, Any]


def busy_practice() -> Agent:
    """A published agent with every tool, whose clinic takes many calls from one address."""
    clinic = make_practice().clinic
    clinic.max_concurrent_calls = clinic.max_calls_per_address = clinic.max_calls_per_network = 100
    clinic.save()
    return live_agent(clinic, tools=list(registered_tools()))


class Page:
    def __init__(self, url: str, *, origin: str = "") -> None:
        """`url` is the whole address of the call, its `model` included."""
        self._url, self._origin = url, origin
        self._socket: ClientConnection | None = None
        self.token = ""
        self.heard: dict[str, bytes] = {}
        self.events: list[Json] = []
        self.said: dict[str, str] = {}  # the words of each item, as they stood last
        self.close_code: int | None = None
        self.playing = ""  # the item whose sound came last
        self._typed: dict[str, str] = {}  # what was sent, and is not in the conversation yet

    async def call(self, key: str) -> None:
        await self._connect(f"openai-insecure-api-key.{key}")

    async def come_back(self, token: str | None = None) -> None:
        """Come back to the call, and say how much was heard. Raises PermissionError when the token is refused."""
        try:
            await self._connect(f"frontdesk-resume.{token or self.token}")
        except InvalidStatus as refused:
            raise PermissionError(refused.response.status_code) from None
        if self.playing:
            await self.say("frontdesk.playback", item_id=self.playing, played_ms=len(self.heard[self.playing]) // MS)

    async def _connect(self, pass_: str) -> None:
        offered = [Subprotocol(each) for each in ("realtime", "frontdesk", pass_)]
        self.close_code = None
        self._socket = await connect(
            self._url,
            origin=self._origin or None,  # type: ignore[arg-type]  # a NewType of str
            subprotocols=offered,
            max_size=MAX_FRAME_BYTES,
            max_queue=None,
            open_timeout=PATIENCE_S,
        )

    @property
    def socket(self) -> ClientConnection:
        assert self._socket is not None
        return self._socket

    async def say(self, kind: str, **fields: Any) -> None:
        with contextlib.suppress(ConnectionClosed):
            await self.socket.send(json.dumps({"type": kind, **fields}))

    async def types(self, text: str) -> None:
        item_id = f"msg_{uuid.uuid4().hex[:20]}"
        self._typed[item_id] = text
        await self._send_typed(item_id)

    async def _send_typed(self, item_id: str) -> None:
        content = [{"type": "input_text", "text": self._typed[item_id]}]
        item = {"id": item_id, "type": "message", "role": "user", "content": content}
        await self.say("conversation.item.create", item=item)
        await self.say("response.create")

    async def next(self) -> Json | None:
        """Return the next event, taken in; None when the line is gone."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                event: Json = json.loads(await self.socket.recv())
        except ConnectionClosed as closed:
            self.close_code = closed.rcvd.code if closed.rcvd is not None else 1006
            return None
        self.events.append(event)
        await self._take(event)
        return event

    async def until(self, fits: Callable[[Json], object]) -> Json:
        """Return the next event that fits. Raises ConnectionError when the line is gone before it."""
        while (event := await self.next()) is not None:
            if fits(event):
                return event
        raise ConnectionError(self.close_code)

    async def kind(self, kind: str) -> Json:
        return await self.until(lambda event: event["type"] == kind)

    async def reply(self) -> str:
        """Return the words of the next whole reply."""
        done = await self.until(lambda event: event["type"] == "response.done" and event["response"]["output"])
        return " ".join(_words(item) for item in done["response"]["output"])

    def lose(self) -> None:
        """Lose the line: no close is said, and none is heard."""
        transport = self.socket.transport
        with contextlib.suppress(OSError):  # it was lost before
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    async def close(self, code: int = 1000) -> None:
        await self.socket.close(code)

    async def _take(self, event: Json) -> None:
        kind = event["type"]
        if kind == "frontdesk.resume":
            self.token = event["token"]
            await self.say("frontdesk.resume")
            for item_id in self._typed:  # lost on the way
                await self._send_typed(item_id)
        elif kind == "conversation.item.added":
            self._typed.pop(event["item"]["id"], None)
        elif kind == "frontdesk.playback":
            self.heard[event["item_id"]] = self.heard.get(event["item_id"], b"")[: event["played_ms"] * MS]
        elif kind == "response.output_audio.delta":
            self.playing = event["item_id"]
            sound = base64.b64decode(event["delta"])
            self.heard[self.playing] = self.heard.get(self.playing, b"") + sound
        elif kind == "conversation.item.done":
            self.said[event["item"]["id"]] = _words(event["item"])


def _words(item: Json) -> str:
    return " ".join(part.get("transcript") or part.get("text") or "" for part in item["content"])
