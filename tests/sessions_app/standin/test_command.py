"""The command: one line when it listens, one line when it cannot, and a quick end."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


async def started(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "manage.py",
        "realtime_standin",
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_command_says_where_it_listens_and_ends_on_a_signal():
    process = await started("--port", "0", "--no-speech", "--fault", "delay_ms=1")
    assert process.stdout

    line = (await process.stdout.readline()).decode()
    process.send_signal(signal.SIGTERM)
    _, errors = await process.communicate()

    assert re.fullmatch(r"stand-in listening on 127\.0\.0\.1:\d+\n", line)
    assert (process.returncode, errors) == (0, b"")


async def test_taken_port_and_foreign_host_are_one_clear_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = await started("--port", str(port))
        _, taken_errors = await process.communicate()
    other = await started("--host", "0.0.0.0")
    _, host_errors = await other.communicate()

    assert (process.returncode, other.returncode) == (1, 1)
    assert taken_errors.decode() == f"CommandError: Cannot listen on 127.0.0.1:{port}: Address already in use.\n"
    assert host_errors.decode() == "CommandError: The stand-in listens on loopback only, not on 0.0.0.0.\n"
