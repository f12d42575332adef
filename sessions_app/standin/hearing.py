"""The ear: a caller's sound to words, by the recogniser's process; or none, where it is not installed."""

import asyncio
import importlib.util
import json
import struct
import sys
from pathlib import Path
from typing import Protocol

from sessions_app.standin.dialogue import Vocabulary
from sessions_app.standin.formats import INSIDE_RATE, resampled

HEADER = struct.Struct(">II")
RECOGNISER_RATE = 16_000
MAX_HEARD_MS = 30_000
ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("pocketsphinx", "numpy", "soxr")


class Hearing(Protocol):
    """What recognises speech; None from `recognise` means that nothing here can."""

    async def recognise(self, pcm: bytes, vocabulary: Vocabulary) -> str | None: ...

    def warm_up(self) -> None: ...

    async def aclose(self) -> None: ...


class Deaf:
    """No recogniser: the dialogue asks the caller to type."""

    async def recognise(self, pcm: bytes, vocabulary: Vocabulary) -> str | None:
        return None

    def warm_up(self) -> None:
        """There is nothing to start."""

    async def aclose(self) -> None:
        """There is nothing to end."""


class Ear:
    """One recogniser process, started by the first session that may hear; it takes one utterance at a time."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._killed: list[asyncio.subprocess.Process] = []
        self._lock = asyncio.Lock()
        self._warming: asyncio.Task[None] | None = None

    def warm_up(self) -> None:
        """Start the process, so that its models are loaded before the first words."""
        if self._warming is None:
            self._warming = asyncio.create_task(self._start())

    async def recognise(self, pcm: bytes, vocabulary: Vocabulary) -> str | None:
        longest = MAX_HEARD_MS * INSIDE_RATE * 2 // 1000
        sound = await asyncio.to_thread(resampled, pcm[-longest:], INSIDE_RATE, RECOGNISER_RATE)
        request = json.dumps({"verbs": vocabulary.verbs, "things": vocabulary.things}).encode()
        try:
            async with self._lock:
                process = await self._running()
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(HEADER.pack(len(request), len(sound)) + request + sound)
                await process.stdin.drain()
                length, _ = HEADER.unpack(await process.stdout.readexactly(HEADER.size))
                return str(json.loads(await process.stdout.readexactly(length)))
        except (asyncio.CancelledError, asyncio.IncompleteReadError, OSError) as error:
            # Half an exchange cannot be taken up again: the next one begins with a new process.
            self._kill()
            if isinstance(error, asyncio.CancelledError):
                raise
            return None

    async def aclose(self) -> None:
        if self._warming:
            self._warming.cancel()
            await asyncio.gather(self._warming, return_exceptions=True)
        async with self._lock:
            self._kill()
            for process in self._killed:
                # Read to the end: a pipe left open would outlive the loop that watches it.
                await process.communicate()
            self._killed.clear()

    async def _start(self) -> None:
        async with self._lock:
            await self._running()

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is not None:
            self._kill()
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "sessions_app.standin.recogniser",
                cwd=ROOT,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        return self._process

    def _kill(self) -> None:
        if self._process:
            if self._process.returncode is None:
                self._process.kill()
            self._killed.append(self._process)
        self._process = None


def best_ear(*, speech: bool = True) -> Hearing:
    """Return the best ear this machine has."""
    installed = all(importlib.util.find_spec(name) for name in NEEDED)
    return Ear() if speech and installed else Deaf()
