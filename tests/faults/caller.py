"""Calls that speak in real time, check all that comes back, and report.

In a process of its own, so that nothing of the test shares its event loop:

    python -m tests.faults.caller --url ws://127.0.0.1:8000/v1/realtime?model=lexi --token fd_... --calls 9 --seconds 60

It prints one JSON object, the `Report`. A line on its standard input begins a new phase: the figures of each phase are
reported apart (`before`, `while the database stands still`, `after`). Or inside a test: `await run_calls(plan)`.

Spoken calls send a stamped frame each 40 ms (see `stamps`) to an upstream that echoes (see `echo_upstream`): each
frame that comes back gives a round trip, each that does not is lost. Typed calls send a line each second and wait for
its answer. Sends are spread over the 40 ms; none is skipped when the caller itself is late, and how late it was is
reported, since then its own figures say less.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import resource
import sys
import time
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from tests.faults import stamps
from tests.faults.wire import Refused, Wire, connect

DELTA = b"response.output_audio.delta"
TYPE_WITHIN = 80  # bytes: how far into an event its type stands
TEXT_EVERY_S = 1.0
READY_S = 20.0
LAST_ECHO_S = 3.0
GOODBYE_S = 5.0
MAX_NOTES = 20

Json = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What to do. `ramp_s` spreads the beginnings; `direct` is a call to the echo itself, for comparison."""

    url: str
    calls: int
    seconds: float
    token: str = ""
    keys: tuple[str, ...] = ()  # one a call, in place of the token
    origin: str = ""
    text: bool = False
    direct: bool = False
    ramp_s: float = 0.0
    first: int = 0  # the number of the first caller: it is in the stamps


@dataclass
class Phase:
    """What was sent between two marks, and what came of it. Times in milliseconds."""

    name: str
    began_ns: int
    sent: int = 0
    received: int = 0
    round_trips_ns: list[int] = field(default_factory=list, repr=False)

    def figures(self) -> Json:
        return {
            "name": self.name,
            "sent": self.sent,
            "received": self.received,
            "lost": self.sent - self.received,
            "round_trip_ms": percentiles(self.round_trips_ns),
        }


@dataclass
class Report:
    """What all the calls saw together."""

    calls: int
    opened: int = 0
    refused: Counter[int] = field(default_factory=Counter)  # HTTP statuses; 0: no answer
    close_codes: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)  # codes of `error` events
    wrong: Counter[str] = field(default_factory=Counter)  # what may never happen
    setup_ns: list[int] = field(default_factory=list)
    turned_away_ns: list[int] = field(default_factory=list)  # until a call that never began was closed
    late_ns: list[int] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)

    @property
    def sent(self) -> int:
        return sum(phase.sent for phase in self.phases)

    @property
    def received(self) -> int:
        return sum(phase.received for phase in self.phases)

    @property
    def lost(self) -> int:
        return self.sent - self.received

    def as_json(self) -> Json:
        every = [one for phase in self.phases for one in phase.round_trips_ns]
        return {
            "calls": self.calls,
            "opened": self.opened,
            "refused": dict(self.refused),
            "close_codes": dict(self.close_codes),
            "errors": dict(self.errors),
            "wrong": dict(self.wrong),
            "sent": self.sent,
            "received": self.received,
            "lost": self.lost,
            "round_trip_ms": percentiles(every),
            "setup_ms": percentiles(self.setup_ns),
            "turned_away_ms": percentiles(self.turned_away_ns),
            "own_lateness_ms": percentiles(self.late_ns),
            "own_cpu_s": round(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]), 3),
            "phases": [phase.figures() for phase in self.phases],
        }


def percentiles(values_ns: list[int]) -> Json:
    """Return p50, p95, p99 and the largest, in milliseconds; nothing of an empty list."""
    if not values_ns:
        return {}
    ordered, last = sorted(values_ns), len(values_ns) - 1
    at = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {name: round(ordered[round(last * share)] / 1e6, 3) for name, share in at.items()}


class Marks:
    """The phases of a run. A frame belongs to the phase in which it was sent."""

    def __init__(self, report: Report) -> None:
        self._phases = report.phases
        self._begins: list[int] = []
        self.begin("all")

    def begin(self, name: str) -> None:
        now = time.perf_counter_ns()
        self._phases.append(Phase(name, now))
        self._begins.append(now)

    @property
    def now(self) -> Phase:
        return self._phases[-1]

    def of(self, sent_ns: int) -> Phase:
        return self._phases[max(0, bisect_right(self._begins, sent_ns) - 1)]


class Call:
    """One call: opens, waits for the greeting, speaks or types until its time is over, and says goodbye."""

    def __init__(self, plan: Plan, number: int, report: Report, marks: Marks) -> None:
        self._plan, self._number, self._report, self._marks = plan, number, report, marks
        self._awaited: asyncio.Event = asyncio.Event()
        self._seq = 0
        self._next = 0  # the sequence number that should come back next
        self._seen = 0
        self._typed_ns = 0
        self._replied = asyncio.Event()
        self._wire: Wire | None = None

    async def run(self) -> None:
        began = time.perf_counter_ns()
        try:
            self._wire = await connect(self._url(), self._heard, headers=self._headers())
        except Refused as refused:
            self._report.refused[refused.status] += 1
            return
        except (OSError, TimeoutError):
            self._report.refused[0] += 1
            return
        self._report.opened += 1
        if await self._ready():
            self._report.setup_ns.append(time.perf_counter_ns() - began)
            await (self._type() if self._plan.text else self._speak())
        elif self._wire.closed.done():
            self._report.turned_away_ns.append(time.perf_counter_ns() - began)
        await self._goodbye()

    def _url(self) -> str:
        return self._plan.url

    def _headers(self) -> dict[str, str]:
        key = self._plan.keys[self._number] if self._plan.keys else self._plan.token
        origin = {"Origin": self._plan.origin} if self._plan.origin else {}
        return {"Sec-WebSocket-Protocol": "realtime", "Authorization": f"Bearer {key}", **origin}

    async def _ready(self) -> bool:
        """Wait until the greeting is over: the way to the model and back stands."""
        assert self._wire is not None
        session: Json = {"type": "realtime", "output_modalities": ["text"] if self._plan.text else ["audio"]}
        if self._plan.text or self._plan.direct:
            self._say({"type": "session.update", "session": session})
        if self._plan.direct:
            self._say({"type": "response.create"})
        greeted = asyncio.create_task(self._replied.wait())
        either: set[asyncio.Future[Any]] = {greeted, self._wire.closed}
        await asyncio.wait(either, timeout=READY_S, return_when=asyncio.FIRST_COMPLETED)
        greeted.cancel()
        if not self._replied.is_set():
            self._report.wrong["no greeting"] += not self._wire.closed.done()
        return self._replied.is_set()

    async def _speak(self) -> None:
        """Send a frame each 40 ms, on the clock and not after each other: a late one does not move the next."""
        assert self._wire is not None
        loop = asyncio.get_running_loop()
        step_s = stamps.FRAME_MS / 1000
        begins = loop.time() + step_s * (self._number % 16) / 16
        for n in range(round(self._plan.seconds / step_s)):
            due = begins + n * step_s
            if (wait_s := due - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            if self._wire.closed.done():
                return
            self._report.late_ns.append(max(0, round((loop.time() - due) * 1e9)))
            self._send_frame()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_ECHO_S):
                while self._seen < self._seq and not self._wire.closed.done():
                    self._awaited.clear()
                    await self._awaited.wait()

    def _send_frame(self) -> None:
        assert self._wire is not None
        self._marks.now.sent += 1
        stamp = stamps.Stamp(self._plan.first + self._number, self._seq, time.perf_counter_ns())
        self._wire.send(b'{"type":"input_audio_buffer.append","audio":"' + stamps.frame(stamp) + b'"}')
        self._seq += 1

    async def _type(self) -> None:
        assert self._wire is not None
        ends = time.monotonic() + self._plan.seconds
        while time.monotonic() < ends and not self._wire.closed.done():
            content = [{"type": "input_text", "text": f"Line {self._seq} of caller {self._number}"}]
            self._seq += 1
            self._marks.now.sent += 1
            self._replied.clear()
            began = self._typed_ns = time.perf_counter_ns()
            self._say({"type": "conversation.item.create", "item": _message(content)})
            self._say({"type": "response.create"})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(READY_S):
                    await self._replied.wait()
            await asyncio.sleep(max(0.0, TEXT_EVERY_S - (time.perf_counter_ns() - began) / 1e9))

    def _say(self, event: Json) -> None:
        assert self._wire is not None
        self._wire.send(json.dumps(event))

    async def _goodbye(self) -> None:
        assert self._wire is not None
        if not self._wire.closed.done():
            self._wire.close()
        try:
            async with asyncio.timeout(GOODBYE_S):
                code = await asyncio.shield(self._wire.closed)
        except TimeoutError:
            code = 0
            self._report.wrong["the close was not answered"] += 1
            self._wire.drop()
        self._report.close_codes[code] += 1

    # What comes back.

    def _heard(self, text: bytes) -> None:
        if DELTA in text[:TYPE_WITHIN]:
            self._sound(text)
            return
        try:
            event = json.loads(text)
            self._event(event, event["type"])
        except (ValueError, KeyError, TypeError):
            self._report.wrong["not an event"] += 1

    def _event(self, event: Json, kind: str) -> None:
        if kind == "error":
            self._report.errors[str(event["error"]["code"])] += 1
        elif kind == "response.done":
            if self._typed_ns:
                self._marks.of(self._typed_ns).received += 1
                self._marks.of(self._typed_ns).round_trips_ns.append(time.perf_counter_ns() - self._typed_ns)
                self._typed_ns = 0
            self._replied.set()

    def _sound(self, text: bytes) -> None:
        now = time.perf_counter_ns()
        place = text.find(stamps.MARK)
        if place < 0:
            return  # the greeting's
        found = stamps.read(text[place : text.index(b'"', place)])
        assert found is not None
        stamp, whole = found
        if stamp.caller != self._plan.first + self._number:
            self._report.wrong["sound of another call"] += 1
            return
        if not whole:
            self._report.wrong["changed sound"] += 1
        if stamp.seq < self._next:
            self._report.wrong["sound twice or out of order"] += 1
            return
        self._next = stamp.seq + 1
        self._seen += 1
        phase = self._marks.of(stamp.sent_ns)
        phase.received += 1
        phase.round_trips_ns.append(now - stamp.sent_ns)
        self._awaited.set()


def _message(content: list[Json]) -> Json:
    return {"type": "message", "role": "user", "content": content}


class Run:
    """Many calls. `mark` begins a new phase while they run."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.report = Report(plan.calls)
        self._marks = Marks(self.report)
        self._calls = [Call(plan, number, self.report, self._marks) for number in range(plan.calls)]

    def mark(self, name: str) -> None:
        self._marks.begin(name)

    async def run(self) -> Report:
        await asyncio.gather(*(self._one(number, call) for number, call in enumerate(self._calls)))
        return self.report

    async def _one(self, number: int, call: Call) -> None:
        await asyncio.sleep(self.plan.ramp_s * number / max(1, self.plan.calls))
        await call.run()


async def run_calls(plan: Plan) -> Report:
    return await Run(plan).run()


async def _main(plan: Plan, marks: TextIO) -> Report:
    run = Run(plan)
    loop = asyncio.get_running_loop()

    def read_mark() -> None:
        line = marks.readline()
        if line.strip():
            run.mark(line.strip())
        elif not line:
            loop.remove_reader(marks)

    with contextlib.suppress(OSError, ValueError):  # a file or nothing: no marks will come
        loop.add_reader(marks, read_mark)
    return await run.run()


def _plan(arguments: list[str] | None = None) -> Plan:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--calls", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--token", default="", help="a clinic's API token")
    parser.add_argument("--keys-file", type=Path, help="a key for each call, a line each, in place of a token")
    parser.add_argument("--origin", default="")
    parser.add_argument("--text", action="store_true")
    parser.add_argument("--direct", action="store_true", help="the address is the echo's own")
    parser.add_argument("--ramp-s", type=float, default=0.0)
    parser.add_argument("--first", type=int, default=0)
    given = vars(parser.parse_args(arguments))
    keys_file: Path | None = given.pop("keys_file")
    return Plan(**given, keys=tuple(keys_file.read_text().split()) if keys_file else ())


def main() -> int:
    plan = _plan()
    gc.disable()  # a collection would stand in the figures as the server's; nothing here makes circles
    try:
        import uvloop
    except ImportError:
        report = asyncio.run(_main(plan, sys.stdin))
    else:
        report = uvloop.run(_main(plan, sys.stdin))
    json.dump(report.as_json(), sys.stdout)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
