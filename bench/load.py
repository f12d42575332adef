"""Callers in real time: each sends a frame every 40 ms, and times each frame's way back.

Run as a process of its own, with its orders as JSON on its first line of input and its answer as JSON on its output.
Proxied and direct callers share one wheel, one clock and one upstream, so what those cost cancels out.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

import uvloop

from bench.figures import Window, quantiles
from bench.frames import ClientEnd
from bench.machine import busy_s, cpu_s, memory_kib, tree
from bench.stamps import FRAME_MS, append_event, sent_at_ns

SETTLE_S = 1.5
GRACE_S = 1.0  # for the last frames of a window to come back
SETUP_S = 30.0
SETUPS = 9  # callers that are connected one by one
APART_S = 0.04  # between two callers that connect: a process takes 30 in a second
FINEST_SLEEP_S = 0.001
INTRODUCTION = b'{"type":"session.update","session":{"type":"realtime","output_modalities":["audio"]}}'
ASK = b'{"type":"response.create"}'


@dataclass
class Orders:
    url: str
    direct_url: str
    pid: int
    own_pids: list[int]  # of the measurement itself, beside this process
    seconds: float
    direct_callers: int = 8
    keys: list[str] = field(default_factory=list)  # one for each caller of ours; "" for a peer that wants none
    slow_url: str = ""  # of the other call, whose query is slow
    slow_key: str = ""
    origin: str = ""
    asks: bool = False  # nobody greets on this peer: the caller asks for the reply
    climbs: bool = False  # keys are read step by step, and each step measured


class Caller(ClientEnd):
    """One caller. `ready` is set when the reply has begun in which its frames come back."""

    def __init__(self, load: Load, number: int, url: str, *, key: str, origin: str, asks: bool, direct: bool) -> None:
        parts = urlsplit(url)
        headers = [("Host", parts.netloc), ("X-Forwarded-For", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")]
        if origin:
            headers.append(("Origin", origin))
        if key:
            headers.append(("Sec-WebSocket-Protocol", f"realtime, openai-insecure-api-key.{key}"))
        super().__init__(f"{parts.path or '/'}?{parts.query}", headers)
        self.number, self.direct, self.seq = number, direct, 0
        self.address = (parts.hostname or "", parts.port or 0)
        self._load, self._asks = load, asks
        loop = asyncio.get_running_loop()
        self.updated: asyncio.Future[int] = loop.create_future()
        self.ready: asyncio.Future[int] = loop.create_future()

    def on_message(self, payload: bytes) -> None:
        sent_ns = sent_at_ns(payload)
        if sent_ns is not None:
            self._load.came_back(self, sent_ns)
        elif not self.ready.done():
            self._on_introduction(payload[:64])

    def _on_introduction(self, head: bytes) -> None:
        if b'"session.created"' in head:
            self.send(INTRODUCTION)
        elif b'"session.updated"' in head and not self.updated.done():
            self.updated.set_result(time.perf_counter_ns())
            if self._asks:
                self.send(ASK)
        elif b'"response.content_part.added"' in head:
            self.ready.set_result(time.perf_counter_ns())

    def on_closed(self, code: int) -> None:
        self._load.on_closed(self, code)
        for waiting in (self.updated, self.ready):
            if not waiting.done():
                waiting.set_exception(ConnectionError(f"closed with {code}"))
                waiting.exception()  # one of them may have nobody waiting


class Load:
    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._callers: list[Caller] = []
        self._wheel: asyncio.Task[None] | None = None
        self._changed = True
        self._leaving = False
        self._window = (0, 0)
        self._back: dict[bool, list[int]] = {}
        self._sent: dict[bool, int] = {}
        self._late: list[int] = []
        self.closed_by_peer: list[int] = []

    def came_back(self, caller: Caller, sent_ns: int) -> None:
        begins, ends = self._window
        if begins <= sent_ns < ends:
            self._back[caller.direct].append(time.perf_counter_ns() - sent_ns)

    def on_closed(self, caller: Caller, code: int) -> None:
        if not self._leaving:
            self.closed_by_peer.append(code)

    async def connect(self, keys: list[str], *, direct: bool = False, silent: bool = False) -> list[float]:
        """Add a caller for each key; return how long each took to `session.updated`, in milliseconds."""

        async def one(place: int, key: str) -> float:
            await asyncio.sleep(place * APART_S)
            return await self._connect_one(key, direct=direct, silent=silent)

        return list(await asyncio.gather(*(one(place, key) for place, key in enumerate(keys))))

    async def _connect_one(self, key: str, *, direct: bool, silent: bool) -> float:
        orders = self._orders
        url = orders.direct_url if direct else orders.slow_url if silent else orders.url
        asks = direct or orders.asks
        caller = Caller(
            self, len(self._callers) + 1, url, key=key, origin=orders.origin if key else "", asks=asks, direct=direct
        )
        self._callers.append(caller)
        begun = time.perf_counter_ns()
        await asyncio.get_running_loop().create_connection(lambda: caller, *caller.address)
        async with asyncio.timeout(SETUP_S):
            updated = await caller.updated
            if not silent:
                await caller.ready
        if silent:
            self._callers.remove(caller)
        self._changed = True
        return (updated - begun) / 1e6

    async def window(self) -> Window:
        """Measure for as long as was ordered."""
        orders = self._orders
        self._wheel = self._wheel or asyncio.create_task(self._turn())
        await asyncio.sleep(SETTLE_S)
        self._back, self._sent, self._late = {True: [], False: []}, {True: 0, False: 0}, []
        pids, own = tree(orders.pid), [*orders.own_pids, os.getpid()]
        spent, others, begun = cpu_s(pids), busy_s() - cpu_s(pids + own), time.perf_counter_ns()
        self._window = (begun, begun + int(orders.seconds * 1e9))
        await asyncio.sleep(orders.seconds)
        spent, others = cpu_s(pids) - spent, busy_s() - cpu_s(pids + own) - others
        took_s = (time.perf_counter_ns() - begun) / 1e9
        memory = memory_kib(pids)
        await asyncio.sleep(GRACE_S)
        self._window = (0, 0)
        return Window(
            callers=sum(not caller.direct for caller in self._callers),
            seconds=took_s,
            cpu_s=spent,
            others_s=others,
            memory_kib=memory,
            sent=self._sent[False],
            lost=self._sent[False] - len(self._back[False]),
            closed=len(self.closed_by_peer),
            proxied_ms=quantiles(self._back[False]),
            direct_ms=quantiles(self._back[True]),
            late_ms=quantiles(self._late),
        )

    async def _turn(self) -> None:
        """Let each caller send when it is due, all of them spread evenly over the time of a frame."""
        period = FRAME_MS * 1_000_000
        order: list[Caller] = []
        begun = turn = 0
        while True:
            if self._changed or not order:
                # The golden ratio spreads the direct callers among the others.
                order = sorted(self._callers, key=lambda caller: caller.number * 0.6180339887 % 1)
                begun, turn, self._changed = time.perf_counter_ns(), 0, False
            due, now = begun + turn * period // len(order), time.perf_counter_ns()
            while due <= now:
                self._send(order[turn % len(order)], due, now)
                turn += 1
                due, now = begun + turn * period // len(order), time.perf_counter_ns()
            await asyncio.sleep(max(FINEST_SLEEP_S, (due - now) / 1e9))

    def _send(self, caller: Caller, due_ns: int, now_ns: int) -> None:
        if caller.closed or not caller.ready.done():
            return
        caller.send(append_event(caller.number, caller.seq, now_ns))
        caller.seq += 1
        if self._window[0] <= now_ns < self._window[1]:
            self._sent[caller.direct] += 1
            self._late.append(now_ns - due_ns)

    async def leave(self) -> None:
        self._leaving = True
        if self._wheel is not None:
            self._wheel.cancel()
        for caller in self._callers:
            caller.leave()
        await asyncio.sleep(GRACE_S)


async def measure(orders: Orders) -> dict[str, Any]:
    """Connect one caller at a time for the set-up times, then all of them, and measure one window."""
    load = Load(orders)
    pids = tree(orders.pid)
    first = await load.connect(orders.keys[:1])
    before = memory_kib(pids)
    one_by_one = [time_ms for key in orders.keys[1:SETUPS] for time_ms in await load.connect([key])]
    await load.connect([""] * orders.direct_callers, direct=True)
    if orders.slow_key:
        await load.connect([orders.slow_key], silent=True)
    await load.connect(orders.keys[SETUPS:])
    window = await load.window()
    await load.leave()
    return {**asdict(window), "setup_ms": one_by_one, "first_setup_ms": first[0], "memory_before_kib": before}


async def climb(orders: Orders) -> None:
    """Read the keys of more callers, or of none more, and print a window; again until nothing is said."""
    load = Load(orders)
    await load.connect([""] * orders.direct_callers, direct=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        await load.connect(json.loads(line))
        print(json.dumps(asdict(await load.window())), flush=True)
    await load.leave()


def main() -> None:
    orders = Orders(**json.loads(sys.stdin.readline()))
    gc.freeze()
    gc.disable()
    if orders.climbs:
        uvloop.run(climb(orders))
    else:
        print(json.dumps(uvloop.run(measure(orders))))


if __name__ == "__main__":
    main()
