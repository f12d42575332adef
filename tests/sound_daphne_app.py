"""An application behind Daphne's lean socket, as a process: `python -m tests.sound_daphne_app <fd of a listener>`.

Twisted's reactor runs once in a process, so that a test has none of its own. What a socket heard it says when it is
sent `report`. How it hears is in the path: /queue, /takes, /closes, /late (let in by one at
/now; one at /asked is let in when it waits).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import sys
from itertools import groupby
from typing import Any

from config.caller_frames import TAKER

_asked, _let_in = asyncio.Event(), asyncio.Event()
_last_closed: list[int] = []


def shown(text: str) -> str:
    """Return what a report says of a text: a long one would make it wait for room."""
    return text if len(text) < 100 else hashlib.sha256(text.encode()).hexdigest()


class NoLifetime:
    def begin(self) -> None: ...

    async def drain(self) -> None: ...

    def hurry(self) -> None: ...


class Hearing:
    """One socket. `heard` has a None for each turn that another task had in between."""

    def __init__(self, send: Any) -> None:
        self.heard: list[str | None] = []
        self.by_queue = 0
        self._send = send

    def take(self, text: str) -> None:
        if text != "report":
            self.heard.append(text)
            return
        sending = self._send({"type": "websocket.send", "text": self.report()})
        try:
            sending.send(None)
        except StopIteration:
            return
        raise AssertionError("Expected a send that does not wait, but it did")

    def report(self) -> str:
        runs = (len(list(run)) for turn, run in groupby(self.heard, key=lambda one: one is None) if not turn)
        texts = [shown(one) for one in self.heard if one is not None]
        return json.dumps(
            {"heard": texts, "by_queue": self.by_queue, "longest": max(runs, default=0), "last_closed": _last_closed}
        )

    async def note_turns(self) -> None:
        while True:
            self.heard.append(None)
            await asyncio.sleep(0)


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    path = scope["path"]
    await receive()
    if path == "/late":
        _asked.set()
        await _let_in.wait()
    elif path == "/asked":
        await _asked.wait()
    elif path == "/now":
        _let_in.set()
    hearing = Hearing(send)
    await send({"type": "websocket.accept"})
    if path == "/closes":
        await receive()
        await send({"type": "websocket.close", "code": 4000})
        await asyncio.get_running_loop().create_future()
    if path != "/queue":
        scope["extensions"][TAKER](hearing.take)
    turns = asyncio.create_task(hearing.note_turns())
    try:
        while (message := await receive())["type"] == "websocket.receive":
            text = message.get("text")
            hearing.by_queue += 1
            hearing.take(text if text is not None else f"bytes {message['bytes'].hex()}")
    finally:
        turns.cancel()
    _last_closed[:] = [message["code"]]


if __name__ == "__main__":
    from config.serving_daphne import serve_daphne  # here alone: it installs a reactor

    serve_daphne(application, socket.socket(fileno=int(sys.argv[1])), NoLifetime())
