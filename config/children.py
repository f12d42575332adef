"""The processes of one command: started together, ended together. Knows nothing of what they do."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

END_TIMEOUT_S = 8  # for each child, between asking and killing
POLL_S = 0.1

Result = TypeVar("Result")


class ChildFailed(Exception):
    """A process ended by itself, or is not ready in time."""


@dataclass(frozen=True)
class Child:
    name: str
    process: subprocess.Popen[bytes]
    log: Path


class Children:
    """Children in the order of their start; they end in the opposite one, so that none loses what it stands on.

    Each has a log, and a session of its own, so that Ctrl-C in a terminal reaches the parent alone.
    """

    def __init__(self, *, directory: Path, logs: Path) -> None:
        self._directory, self._logs = directory, logs
        self._children: list[Child] = []

    def __enter__(self) -> Children:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for child in reversed(self._children):
            _end(child.process)

    def start(
        self, name: str, module: str, *arguments: str, environment: Mapping[str, str], pass_fds: tuple[int, ...] = ()
    ) -> Child:
        """Start a module on a leash. `name` is what a person calls it."""
        log = self._logs / f"{name.replace(' ', '-')}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-u", "-m", "config.leash", module, *arguments],
                cwd=self._directory,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=pass_fds,
                start_new_session=True,
            )
        child = Child(name, process, log)
        self._children.append(child)
        return child

    def wait_for(self, child: Child, answer: Callable[[], Result | None], *, timeout_s: float) -> Result:
        """Return the first answer that is not None. Raises ChildFailed when a child ends, or time is up."""
        deadline = time.monotonic() + timeout_s
        while (result := answer()) is None:
            self.check()
            if time.monotonic() > deadline:
                raise ChildFailed(f"The {child.name} was not ready after {timeout_s:.0f} s; its log is {child.log}.")
            time.sleep(POLL_S)
        return result

    def check(self) -> None:
        """Raise ChildFailed when a child has ended, naming which."""
        for child in self._children:
            if (code := child.process.poll()) is not None:
                raise ChildFailed(f"The {child.name} ended with code {code}; its log is {child.log}.")

    def watch(self) -> None:
        """Return never: raises ChildFailed when a child ends."""
        while True:
            self.check()
            time.sleep(POLL_S)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin is not None:
        process.stdin.close()
