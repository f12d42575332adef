"""What the fault tests share: clinics with room, the caller and the echo as processes, and a process's own figures."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from django.conf import settings

from agents_app.models import Agent, ApiToken, Clinic
from tests.faults.caller import Plan
from tests.make import make_clinic
from tests.servers import Server, live_agent

ROOM = 500
CALLER_PATIENCE_S = 60.0
PROCESS_PATIENCE_S = 20.0
CLOCK_TICKS_S = 100.0
PAGE_BYTES = 4096


def roomy_agent(**fields: Any) -> Agent:
    """A published agent of a clinic that takes as many calls as a test makes."""
    return live_agent(roomy_clinic(), **fields)


def roomy_clinic(**fields: Any) -> Clinic:
    calls = dict.fromkeys(("max_concurrent_calls", "max_calls_per_address", "max_calls_per_network"), ROOM)
    return make_clinic(**{**calls, "max_starts_per_hour": 30_000, "max_call_minutes": 55, **fields})


def token_of(agent: Agent) -> str:
    return ApiToken.issue(clinic=agent.clinic, name="faults")[1]


def plan_of(server: Server, agent: Agent, token: str, **fields: Any) -> Plan:
    """Return the plan of calls to `agent`."""
    fields = {"calls": 1, "seconds": 1.0, **fields}
    return Plan(url=f"{server.url}/realtime?model={agent.public_name}", token=token, **fields)


@dataclass
class CallerProcess:
    """The caller program at work. `mark` begins a phase; `report` waits for the end."""

    process: asyncio.subprocess.Process
    patience_s: float

    def mark(self, name: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{name}\n".encode())

    async def report(self) -> dict[str, Any]:
        async with asyncio.timeout(self.patience_s):
            assert self.process.stdout is not None
            text = await self.process.stdout.read()
        assert text, "the caller ended without a report: see its standard error"
        report: dict[str, Any] = json.loads(text)
        return report


@contextlib.asynccontextmanager
async def running_caller(plan: Plan, *, keys_file: Path | None = None) -> AsyncIterator[CallerProcess]:
    """Run the caller program; it is ended with the block. `keys_file` holds a key for each call, a line each."""
    given: dict[str, object] = {"--url": plan.url, "--token": plan.token, "--origin": plan.origin}
    given |= {"--calls": plan.calls, "--seconds": plan.seconds, "--ramp-s": plan.ramp_s, "--first": plan.first}
    given |= {"--keys-file": keys_file or ""}
    arguments = [str(part) for pair in given.items() if pair[1] != "" for part in pair]
    switches = [name for name, on in (("--text", plan.text), ("--direct", plan.direct)) if on]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.faults.caller", *arguments, *switches),
        cwd=settings.BASE_DIR,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield CallerProcess(process, plan.seconds + plan.ramp_s + CALLER_PATIENCE_S)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@contextlib.contextmanager
def running_echo_process(port: int = 0) -> Iterator[int]:
    """Run the echo as a process of its own; yield its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.echo_upstream", "--port", str(port)],
        cwd=settings.BASE_DIR,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield _port_said(process.stdout)
    finally:
        process.kill()
        process.wait(timeout=PROCESS_PATIENCE_S)
        if process.stdout is not None:
            process.stdout.close()


def _port_said(output: IO[str] | None) -> int:
    assert output is not None
    line = output.readline()
    assert "listening on" in line, "the echo did not begin: see its standard error"
    return int(line.rsplit(":", 1)[1])


async def until(holds: Callable[[], object], *, within_s: float = PROCESS_PATIENCE_S) -> None:
    """Wait until it holds: for figures that grow in callbacks, of which no event tells."""
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@dataclass(frozen=True)
class Usage:
    """What a process has used, by /proc: processor time of itself and resident memory."""

    cpu_s: float
    rss_bytes: int
    files: int


def usage_of(pid: int) -> Usage:
    """Return what the process uses now. Linux only, as the figures are."""
    stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    user, system, resident = int(stat[11]), int(stat[12]), int(stat[21])
    return Usage((user + system) / CLOCK_TICKS_S, resident * PAGE_BYTES, len(list(Path(f"/proc/{pid}/fd").iterdir())))
