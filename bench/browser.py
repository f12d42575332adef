"""What a patient waits for in a real browser, and whose share it is: prints a table and where ours goes.

    python -m bench.browser [--calls 20] [--server uvicorn]

Our server, an upstream that answers at once, and headless Chromium with the talk page as it is. In each call a patient
taps, hears the greeting begin, speaks into it, and is answered. Each has a new browser profile, as on a first visit.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from playwright.async_api import Browser, async_playwright

from bench import machine
from bench.patient import MICROPHONE_RATE, silence, voice
from bench.peers import OTHER_CORE, ROOT, Installation, Peer, end, free_port, pinned, running, wait_for_port
from bench.shares import TO_ANSWER, TO_SILENCE, Marks, Wait, parts, quantile, table, waits

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    *(["--no-sandbox"] if os.geteuid() == 0 else []),
)
BEFORE_MS, SPOKEN_MS, AFTER_MS = 2_700, 900, 1_500  # the microphone's sound, over and over
GOAL_OURS_MS, GOAL_SILENCE_MS = 40, 100
CALL_S, MOST_TRIES = 60.0, 3


class Upstream:
    """The receptionist's process, and what it noted of each call."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self._process, self.port = process, port

    async def notes(self) -> Marks:
        """Return what was noted of the call that has just ended."""
        assert self._process.stdout is not None
        line = await asyncio.wait_for(asyncio.to_thread(self._process.stdout.readline), CALL_S)
        return Marks(json.loads(line))


@contextlib.contextmanager
def receptionist() -> Iterator[Upstream]:
    port = free_port()
    command = pinned(OTHER_CORE, sys.executable, "-m", "bench.receptionist", "--port", str(port))
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            wait_for_port(port, process)
            yield Upstream(process, port)
        finally:
            end(process)


@contextlib.asynccontextmanager
async def chromium(directory: Path) -> AsyncIterator[Browser]:
    microphone = directory / "patient.wav"
    with wave.open(str(microphone), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(MICROPHONE_RATE)
        sound.writeframes(silence(BEFORE_MS) + voice(SPOKEN_MS) + silence(AFTER_MS))
    async with async_playwright() as playwright:
        flags = [*FLAGS, f"--use-file-for-fake-audio-capture={microphone}"]
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        await browser.close()


async def call(browser: Browser, address: str, upstream: Upstream) -> dict[str, Wait]:
    """Let a new patient call once; return the three waits."""
    context = await browser.new_context()
    await context.add_init_script(path=Path(__file__).with_name("ears.js"))
    page = await context.new_page()
    await page.goto(address, wait_until="networkidle")
    await page.click("#start-voice")
    await asyncio.wait_for(page.evaluate("bench.answered"), CALL_S)
    noted = await page.evaluate("bench.marks")
    await page.click("#end")
    marks = await upstream.notes()
    await context.close()
    return waits(Marks(noted), marks)


async def calls_of(browser: Browser, address: str, upstream: Upstream, count: int) -> list[dict[str, Wait]]:
    """Return the waits of so many calls. One whose frames came so late that it was answered too early is none."""
    calls: list[dict[str, Wait]] = []
    for _ in range(MOST_TRIES * count):
        try:
            calls.append(await call(browser, address, upstream))
        except LookupError as error:
            print(f"A call came to nothing: {error}", flush=True)
        if len(calls) == count:
            return calls
    raise RuntimeError("Too many calls came to nothing: the machine is too busy")


async def measured(count: int, *, server: str, directory: Path, warm_up: int = 1) -> list[dict[str, Wait]]:
    peer = Peer(server, server, "sqlite")
    with (
        receptionist() as upstream,
        contextlib.closing(
            Installation(
                directory, database_url=f"sqlite:///{directory / 'bench.sqlite3'}", upstream_port=upstream.port
            )
        ) as installation,
        running(peer, installation, upstream_port=upstream.port, log=directory / "log.txt") as process,
    ):
        address = installation.ask(f"page {process.port}")
        async with chromium(directory) as browser:
            calls = await calls_of(browser, address, upstream, warm_up + count)
    return calls[warm_up:]  # in its first calls a server loads what it needs


def report(calls: list[dict[str, Wait]], *, busy_cores: float) -> str:
    answered = quantile((one[TO_ANSWER].ours_ms for one in calls), 0.95)
    silenced = quantile((one[TO_SILENCE].ours_ms for one in calls), 0.95)
    return "\n".join(
        [
            "",
            table(calls),
            "",
            *parts(calls),
            "",
            _judged(f"our share of {TO_ANSWER}, p95", answered, GOAL_OURS_MS),
            _judged(f"our share of {TO_SILENCE}, p95", silenced, GOAL_SILENCE_MS),
            f"Calls: {len(calls)}; {busy_cores:.2f} of the machine's cores were busy meanwhile, others' work included.",
        ]
    )


def _judged(name: str, value_ms: float, goal_ms: float) -> str:
    return f"{name}: {value_ms:.0f} ms, goal at most {goal_ms:.0f}: {'met' if value_ms <= goal_ms else 'MISSED'}"


def main() -> None:
    options = parsed()
    if CHROMIUM is None:
        sys.exit("Chromium is not installed: apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="frontdesk-bench-") as name:
        directory = Path(name)
        try:
            before, began = machine.busy_s(), time.monotonic()
            calls = asyncio.run(measured(options.calls, server=options.server, directory=directory))
            busy = (machine.busy_s() - before) / (time.monotonic() - began)
        except Exception:
            log = directory / "log.txt"
            print(log.read_text()[-4000:] if log.exists() else "")
            raise
    print(report(calls, busy_cores=busy))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--server", default="uvicorn", choices=("uvicorn", "daphne"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
