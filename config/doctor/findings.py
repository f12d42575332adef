"""What a step of the doctor found, and how steps are run: none of them can stop the others. Pure but for that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    OK = "ok"
    SKIPPED = "-"
    WARNING = "warn"
    FAILED = "FAIL"


@dataclass(frozen=True)
class Finding:
    """One line. `said` holds no secret and, when something is wrong, what to do."""

    step: str
    state: State
    said: str

    def line(self) -> str:
        return f"{self.state:<4}  {self.step:<12} {self.said}"


def ok(step: str, said: str) -> Finding:
    return Finding(step, State.OK, said)


def skipped(step: str, said: str) -> Finding:
    return Finding(step, State.SKIPPED, said)


def warning(step: str, said: str) -> Finding:
    return Finding(step, State.WARNING, said)


def failed(step: str, said: str) -> Finding:
    return Finding(step, State.FAILED, said)


@dataclass(frozen=True)
class Step:
    name: str
    find: Callable[[], Iterable[Finding]]
    needs_database: bool = True


def run(steps: Iterable[Step]) -> Iterator[Finding]:
    """Yield what each step finds; a step that breaks is a finding of its own.

    Once the step "database" has failed, the others that need it are left out: each would wait for it in vain.
    """
    database_failed = False
    for step in steps:
        if step.needs_database and database_failed:
            yield skipped(step.name, "needs the database")
            continue
        for finding in _tried(step):
            database_failed |= (finding.step, finding.state) == ("database", State.FAILED)
            yield finding


def _tried(step: Step) -> Iterator[Finding]:
    try:
        yield from step.find()
    except Exception as error:  # its text may hold an address with a password
        yield failed(step.name, f"could not be tried: {type(error).__name__}")
