"""What processes and the machine spend, as /proc tells it. Linux alone."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    children: dict[int, list[int]] = {}
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            with suppress(OSError):
                children.setdefault(int(_stat(int(directory.name))[1]), []).append(int(directory.name))
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        todo += children.get(one, [])
    return found


def cpu_s(pids: list[int]) -> float:
    """Return what the processes have spent, in seconds of one core; 10 ms is the finest that is told."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            fields = _stat(pid)
            total += int(fields[11]) + int(fields[12])
    return total / TICK


def _stat(pid: int) -> list[bytes]:
    """Return the fields of a process behind its name, which may hold anything."""
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()


def memory_kib(pids: list[int]) -> int:
    """Return the memory of the processes; what several share is counted in shares (PSS)."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def busy_s() -> float:
    """Return what all cores have spent since the machine began, in seconds of one core."""
    fields = [int(one) for one in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _waiting, irq, soft_irq, stolen = fields
    return (user + nice + system + irq + soft_irq + stolen) / TICK
