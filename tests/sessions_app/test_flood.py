"""One caller that floods: it is dropped, and nobody else waits for it."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from typing import Any

import pytest
from django.conf import settings
from websockets.exceptions import ConnectionClosed

from sessions_app.call.pace import BURST_MESSAGES, MAX_DROPPED
from sessions_app.consumers import MESSAGES_A_TURN, CallConsumer
from sessions_app.models import CallSession
from tests.servers import ORIGIN, Server, eventually, in_thread, live_agent, new_key
from tests.sessions_app.standin.recording import RecordingClient

FLOODS = 6  # in less time than a silent call is left alone
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


async def round_trips(caller: RecordingClient, stop: asyncio.Event, *, apart_s: float = 0.02) -> list[float]:
    """Return how long each answer took, in ms, asked for at regular times whatever came of the last."""
    took: list[float] = []
    loop = asyncio.get_running_loop()
    due = loop.time()
    while not stop.is_set():
        due += apart_s
        await asyncio.sleep(max(0.0, due - loop.time()))
        await answered(caller)
        took.append((loop.time() - due) * 1000)  # of an answer that came late, the next ones are late as well
    return took


def quantiles(took: list[float]) -> tuple[float, float, float]:
    ordered = sorted(took)
    return ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)], ordered[-1]


@pytest.mark.soak
@pytest.mark.timeout(180)
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("apart_s", [0.0, 1.0])
async def test_round_trip_of_another_call_hardly_moves_while_calls_flood(server: Server, apart_s: float):
    agent = await in_thread(live_agent)
    keys = await in_thread(lambda: [new_key(agent) for _ in range(FLOODS)])
    url = f"{server.url}/realtime?model={agent.public_name}"
    command = ["-m", "tests.sessions_app.flooder", url, ORIGIN, "20000", str(apart_s), *keys]

    async with server.upstream(speech=False), server.call(agent, checked=False) as calm:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(5.0, stop.set)
        alone = quantiles(await round_trips(calm, stop))
        stop = asyncio.Event()
        flooder = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdout=asyncio.subprocess.PIPE, cwd=settings.BASE_DIR
        )
        flooded = asyncio.create_task(round_trips(calm, stop))
        out, _ = await asyncio.wait_for(flooder.communicate(), 120)
        stop.set()
        beside = quantiles(await flooded)

    print(f"\n{server.kind}, {FLOODS} floods of 20,000 messages, {apart_s} s apart: round trip p50, p99, max in ms")
    print("  alone  " + "  ".join(f"{ms:7.1f}" for ms in alone))
    print("  beside " + "  ".join(f"{ms:7.1f}" for ms in beside))
    assert set(out.split()) <= {b"4429", b"1006", b"None"}
