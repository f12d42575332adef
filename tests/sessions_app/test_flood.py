"""One caller that floods: it is dropped, and nobody else waits for it."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from sessions_app.call.pace import BURST_MESSAGES, MAX_DROPPED
from sessions_app.consumers import MESSAGES_A_TURN, CallConsumer
from sessions_app.models import CallSession
from tests.servers import Server, eventually, in_thread, live_agent
from tests.sessions_app.standin.recording import RecordingClient

SMALL = json.dumps({"type": "conversation.item.retrieve", "item_id": "nobody"})


class Flooded:
    """A bridge that notes what it is given, and when another task had its turn."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.hung_up: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def from_caller(self, text: str) -> None:
        self.order.append("flood")


async def test_loop_turns_to_others_while_one_callers_messages_are_there_without_end():
    waiting = [{"type": "websocket.receive", "text": SMALL}] * 200 + [{"type": "websocket.disconnect", "code": 1000}]
    messages = iter(waiting)

    async def receive() -> dict[str, Any]:  # as a server does whose queue is never empty: it does not wait
        return next(messages)

    async def send(message: dict[str, Any]) -> None:
        raise AssertionError("Nothing is sent")

    bridge = Flooded()

    async def another() -> None:
        while True:
            bridge.order.append("another")
            await asyncio.sleep(0)

    other = asyncio.create_task(another())
    code = await CallConsumer({}, receive, send)._listen(bridge)  # type: ignore[arg-type]
    other.cancel()

    assert code == 1000
    turns = "".join(name[0] for name in bridge.order).split("a")
    assert max(len(floods) for floods in turns) == MESSAGES_A_TURN
    assert bridge.order.count("flood") == 200


async def test_nothing_is_listened_to_once_the_call_is_over():
    bridge = Flooded()
    taken = 0

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += 1
        if taken == 3:
            bridge.hung_up.set_result(None)
        return {"type": "websocket.receive", "text": SMALL}

    async def send(message: dict[str, Any]) -> None:
        raise AssertionError("Nothing is sent")

    listening = asyncio.create_task(CallConsumer({}, receive, send)._listen(bridge))  # type: ignore[arg-type]
    for _ in range(50):
        await asyncio.sleep(0)
    listening.cancel()

    assert taken == 3


async def answered(caller: RecordingClient) -> bool:
    """Whether a message of the caller's is answered."""
    await caller.send("conversation.item.retrieve", item_id="nobody")
    return bool((await caller.until("error"))[-1]["error"]["code"] == "event_not_allowed")


async def floods(caller: RecordingClient) -> int:
    """Send more than anyone may; return the code with which the server closes."""
    with suppress(ConnectionClosed):
        for _ in range(5 * (BURST_MESSAGES + MAX_DROPPED)):
            await caller.socket.send(SMALL)
    with suppress(ConnectionClosed):
        while True:
            await caller.next()
    await caller.socket.wait_closed()
    return caller.socket.close_code or 0


@pytest.mark.django_db(transaction=True)
async def test_caller_that_floods_is_closed_with_4429_and_another_call_goes_on(server: Server):
    agent = await in_thread(live_agent)

    async with server.upstream(speech=False), server.call(agent, checked=False) as calm:
        before = await answered(calm)
        async with server.call(agent, checked=False) as wild:
            code = await floods(wild)
        after = await answered(calm)

    assert (before, after, code) == (True, True, 4429)
    codes = [event["error"]["code"] for event in wild.events if event["type"] == "error"]
    assert codes.count("too_fast") == 1
    assert codes.count("event_not_allowed") >= BURST_MESSAGES
    reasons = CallSession.objects.exclude(end_reason="").values_list("end_reason", flat=True)
    assert "bad_message" in await eventually(lambda: list(reasons.all()), lambda found: len(found) == 2)
