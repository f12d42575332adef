"""A send to the caller that was begun outside of a task: ended by the leg's own, once, in its order."""

from __future__ import annotations

import asyncio
from typing import Any

from sessions_app.consumers import CallConsumer

WAIT_S = 20.0


class Socket:
    """A server's end whose `send` waits while it is full, as uvicorn's and our Daphne's do."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.room = asyncio.Event()
        self.room.set()

    async def send(self, message: dict[str, Any]) -> None:
        await self.room.wait()
        self.sent.append(message["text"])

    async def receive(self) -> dict[str, Any]:
        raise AssertionError("Nothing is said here")


async def test_full_socket_gets_each_message_once_and_in_order():
    socket = Socket()
    leg = CallConsumer({}, socket.receive, socket.send)._leg()
    running = asyncio.create_task(leg.run())
    await asyncio.sleep(0)

    leg.put("at once")
    at_once = list(socket.sent)
    socket.room.clear()
    leg.put("begun")
    leg.put("queued")
    await asyncio.sleep(0)
    while_full = list(socket.sent)
    socket.room.set()
    leg.finish()
    await asyncio.wait_for(running, WAIT_S)

    assert (at_once, while_full) == (["at once"], ["at once"])
    assert socket.sent == ["at once", "begun", "queued"]


async def test_leg_that_is_cancelled_leaves_no_begun_send_behind():
    socket = Socket()
    leg = CallConsumer({}, socket.receive, socket.send)._leg()
    running = asyncio.create_task(leg.run())
    await asyncio.sleep(0)
    socket.room.clear()
    leg.put("begun")
    await asyncio.sleep(0)

    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    socket.room.set()
    await asyncio.sleep(0)

    assert socket.sent == []
