"""How calls are let go: by themselves, with a goodbye, at the limit, and by force when they do not listen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from sessions_app import draining
from sessions_app.draining import Drain


class Calls:
    """Stands in for the registry's calls: each ends when it is told as it wants to be told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.tasks: set[asyncio.Task[None]] = set()

    def begin(self, ends_on: str) -> asyncio.Event:
        over = asyncio.Event()

        async def carry() -> None:
            await over.wait()

        task = asyncio.get_running_loop().create_task(carry(), name=ends_on)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        task.over = over  # type: ignore[attr-defined]
        return over

    def tell(self, what: str) -> Callable[[], None]:
        def to_all() -> None:
            self.told.append(what)
            for task in list(self.tasks):
                if task.get_name() == what:
                    task.over.set()  # type: ignore[attr-defined]

        return to_all

    def drain(self) -> Drain:
        return Drain(tasks=lambda: self.tasks, wrap_up=self.tell("wrap_up"), stop=self.tell("stop"))


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "WRAP_UP_S", 0.2)
    monkeypatch.setattr(draining, "STOP_S", 0.3)
    monkeypatch.setattr(draining, "CANCEL_S", 0.3)


async def test_drain_of_nothing_is_over_at_once():
    calls = Calls()

    async with asyncio.timeout(0.1):
        assert await calls.drain().run(600.0) == 0
    assert calls.told == ["wrap_up"]


async def test_calls_that_end_by_themselves_are_told_nothing_before_the_end():
    calls = Calls()
    over = calls.begin("itself")
    drain = asyncio.create_task(calls.drain().run(600.0))
    await asyncio.sleep(0)

    over.set()

    assert await asyncio.wait_for(drain, 1.0) == 0
    assert "stop" not in calls.told


async def test_call_that_began_meanwhile_is_waited_for_too():
    calls = Calls()
    first = calls.begin("itself")
    drain = asyncio.create_task(calls.drain().run(600.0))
    await asyncio.sleep(0)
    second = calls.begin("itself")
    first.set()
    done, _ = await asyncio.wait({drain}, timeout=0.2)

    second.set()

    assert done == set()
    assert await asyncio.wait_for(drain, 1.0) == 0


async def test_each_call_is_told_to_wrap_up_before_the_limit_and_stopped_at_it():
    calls = Calls()
    calls.begin("wrap_up")
    calls.begin("stop")

    cancelled = await asyncio.wait_for(calls.drain().run(0.4), 2.0)

    assert cancelled == 0
    assert calls.told[:2] == ["wrap_up", "stop"]
    assert calls.tasks == set()


async def test_r24_stuck_task_is_cancelled_after_the_limit():
    calls = Calls()
    calls.begin("nothing")

    cancelled = await asyncio.wait_for(calls.drain().run(0.2), 2.0)

    assert (cancelled, calls.tasks) == (1, set())


async def test_cancelled_task_has_time_to_put_right_what_it_leaves():
    calls = Calls()
    given_back: list[str] = []

    async def carry() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(draining.AGAIN_S * 1.5)
            given_back.append("place")

    calls.tasks.add(task := asyncio.create_task(carry(), name="nothing"))
    task.add_done_callback(calls.tasks.discard)

    await calls.drain().run(0.2)

    assert given_back == ["place"]


async def test_hurry_stops_the_calls_now():
    calls = Calls()
    calls.begin("stop")
    drain = calls.drain()
    running = asyncio.create_task(drain.run(600.0))
    await asyncio.sleep(0)

    drain.hurry()

    assert await asyncio.wait_for(running, 1.0) == 0
    assert set(calls.told) == {"stop"}
