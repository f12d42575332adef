"""A way out: in order, bounded, and never in the way of whoever puts something in."""

from __future__ import annotations

import asyncio

import pytest

from sessions_app.leg import Leg


class Wire:
    """Takes what is sent, as long as it is open."""

    def __init__(self, *, opened: bool = True) -> None:
        self.sent: list[str] = []
        self.gate = asyncio.Event()
        self.asked = asyncio.Event()
        if opened:
            self.gate.set()

    async def send(self, text: str) -> None:
        self.asked.set()
        await self.gate.wait()
        self.sent.append(text)


async def finished(running: asyncio.Task[None]) -> None:
    async with asyncio.timeout(20):
        await running


async def test_what_is_put_goes_out_in_order_and_the_last_of_it_before_the_end():
    wire = Wire()
    leg = Leg(wire.send)
    running = asyncio.create_task(leg.run())

    for number in range(500):
        leg.put(str(number))
        if number % 100 == 0:
            await asyncio.sleep(0)
    leg.finish()
    await finished(running)

    assert wire.sent == [str(number) for number in range(500)]
    assert leg.overflowed is False


async def test_what_is_put_before_it_runs_goes_out_first():
    wire = Wire()
    leg = Leg(wire.send)
    leg.put("early")
    running = asyncio.create_task(leg.run())

    leg.put("late")
    leg.finish()
    await finished(running)

    assert wire.sent == ["early", "late"]


async def test_nothing_goes_out_after_the_end():
    wire = Wire()
    leg = Leg(wire.send)
    leg.finish()
    leg.put("late")

    await finished(asyncio.create_task(leg.run()))

    assert wire.sent == []


async def test_reader_that_stands_still_costs_bounded_memory_and_ends_the_leg():
    wire = Wire(opened=False)
    leg = Leg(wire.send, max_bytes=1000)
    running = asyncio.create_task(leg.run())
    leg.put("first")
    await wire.asked.wait()

    for _ in range(10_000):
        leg.put("a" * 100)
    held = sum(map(len, leg.drain()))
    wire.gate.set()
    await finished(running)

    assert (leg.overflowed, leg.finished, held) == (True, True, 1000)
    assert wire.sent == ["first"]


async def test_what_overflowed_is_not_sent_once_the_reader_wakes():
    wire = Wire(opened=False)
    leg = Leg(wire.send, max_bytes=10)
    running = asyncio.create_task(leg.run())
    leg.put("a")
    await wire.asked.wait()

    leg.put("b" * 10)
    leg.put("c")
    wire.gate.set()
    await finished(running)

    assert wire.sent == ["a"]


async def test_room_is_there_again_once_it_was_sent():
    wire = Wire()
    leg = Leg(wire.send, max_bytes=10)
    running = asyncio.create_task(leg.run())

    for _ in range(100):
        wire.asked.clear()
        leg.put("0123456789")
        await wire.asked.wait()
    leg.finish()
    await finished(running)

    assert (len(wire.sent), leg.overflowed) == (100, False)


async def test_fault_of_the_wire_ends_the_leg_with_it():
    async def broken(text: str) -> None:
        raise ConnectionResetError

    leg = Leg(broken)
    leg.put("a")

    with pytest.raises(ConnectionResetError):
        await leg.run()


async def test_what_waits_can_be_handed_over_and_is_kept_by_one_alone():
    wire = Wire()
    first, second = Leg(wire.send), Leg(wire.send)
    for number in range(3):
        first.put(str(number))

    for text in first.drain():
        second.put(text)
    first.finish()
    second.finish()
    await asyncio.gather(first.run(), second.run())

    assert wire.sent == ["0", "1", "2"]
    assert first.drain() == []


async def test_sound_that_waited_too_long_is_dropped_the_oldest_first_and_nothing_else_is():
    wire = Wire(opened=False)
    leg = Leg(wire.send, max_sound_wait_s=2.0)
    running = asyncio.create_task(leg.run())
    leg.put("first")
    await wire.asked.wait()

    leg.put_sound("a", 10, now=100.0)
    leg.put("commit")
    leg.put_sound("b", 10, now=101.0)
    kept = leg.put_sound("c", 10, now=102.0)
    dropped = leg.put_sound("d", 10, now=103.5)
    wire.gate.set()
    leg.finish()
    await finished(running)

    assert (kept, dropped) == (0, 20)
    assert wire.sent == ["first", "commit", "c", "d"]
    assert (leg.sound_bytes, leg.overflowed) == (0, False)


async def test_burst_of_sound_that_is_taken_at_once_is_kept_whole():
    wire = Wire()
    leg = Leg(wire.send, max_sound_wait_s=2.0)

    dropped = [leg.put_sound(str(n), 48_000, now=100.0) for n in range(15)]
    leg.finish()
    await leg.run()

    assert dropped == [0] * 15
    assert wire.sent == [str(n) for n in range(15)]


async def test_slow_reader_of_sound_costs_what_it_is_late_and_no_more():
    wire = Wire(opened=False)
    leg = Leg(wire.send, max_sound_wait_s=2.0)
    running = asyncio.create_task(leg.run())
    leg.put("first")
    await wire.asked.wait()

    dropped = sum(leg.put_sound("40 ms", 1920, now=n * 0.04) for n in range(10_000))

    assert leg.sound_bytes == 51 * 1920  # two seconds, and the newest
    assert dropped == (10_000 - 51) * 1920
    running.cancel()


async def test_what_is_sent_at_once_and_what_had_to_wait_keep_their_order():
    wire, takes = Wire(), True

    def try_send(text: str) -> bool:
        if takes:
            wire.sent.append(text)
        return takes

    leg = Leg(wire.send, try_send=try_send)
    leg.put("before it runs")
    running = asyncio.create_task(leg.run())
    await wire.asked.wait()
    await asyncio.sleep(0)
    leg.put("at once")
    sent_at_once = list(wire.sent)
    takes = False
    leg.put("must wait")
    takes = True
    leg.put("behind it")
    leg.finish()
    await finished(running)

    assert sent_at_once == ["before it runs", "at once"]
    assert wire.sent == ["before it runs", "at once", "must wait", "behind it"]
