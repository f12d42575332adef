"""What was measured, as the figures that are printed. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

P50, P95, P99 = range(3)
POINTS = (0.5, 0.95, 0.99)
NOWHERE = float("nan")


def quantiles(times_ns: list[int]) -> tuple[float, ...]:
    """Return the p50, p95 and p99 in milliseconds."""
    ordered = sorted(times_ns)
    if not ordered:
        return (NOWHERE,) * len(POINTS)
    return tuple(ordered[min(len(ordered) - 1, int(point * len(ordered)))] / 1e6 for point in POINTS)


@dataclass(frozen=True)
class Window:
    """One peer's window, as the generator measured it."""

    callers: int
    seconds: float
    cpu_s: float
    others_s: float  # what the rest of the machine spent meanwhile
    memory_kib: int
    sent: int
    lost: int
    closed: int
    proxied_ms: Sequence[float]
    direct_ms: Sequence[float]
    late_ms: Sequence[float]  # how late the generator itself was

    @property
    def added_ms(self) -> tuple[float, ...]:
        return tuple(proxied - direct for proxied, direct in zip(self.proxied_ms, self.direct_ms, strict=True))

    @property
    def cpu_per_caller_minute(self) -> float:
        return self.cpu_s / self.seconds * 60 / self.callers


@dataclass(frozen=True)
class Run:
    """One peer in one round."""

    window: Window
    setup_ms: tuple[float, ...]
    first_setup_ms: float
    memory_before_kib: int


Figure = Callable[[Run], float]
FIGURES: dict[str, Figure] = {
    "CPU s per caller-minute": lambda run: run.window.cpu_per_caller_minute,
    "added p50 ms": lambda run: run.window.added_ms[P50],
    "added p95 ms": lambda run: run.window.added_ms[P95],
    "added p99 ms": lambda run: run.window.added_ms[P99],
    "KiB per caller": lambda run: (run.window.memory_kib - run.memory_before_kib) / max(1, run.window.callers - 1),
    "set-up ms": lambda run: median(run.setup_ms),
    "first set-up ms": lambda run: run.first_setup_ms,
}


def table(runs: dict[str, list[Run]], reference: str) -> str:
    """Return the medians of each peer, and their ratios to the reference's, as a table in Markdown."""
    head = ["peer", *FIGURES, "frames lost", "others' cores"]
    rows = [_row(name, runs[name], runs[reference]) for name in runs if runs[name]]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows])


def _row(name: str, runs: list[Run], reference: list[Run]) -> list[str]:
    cells = [name]
    for figure in FIGURES.values():
        mine, theirs = median(map(figure, runs)), median(map(figure, reference))
        ratio = f" (x {mine / theirs:.2f})" if runs is not reference and theirs > 0 else ""
        cells.append(f"{mine:.3g}{ratio}")
    lost = sum(run.window.lost for run in runs)
    return [*cells, str(lost), f"{max(run.window.others_s / run.window.seconds for run in runs):.2f}"]


@dataclass(frozen=True)
class Goal:
    """The ratio of one figure between two peers, and what it should be at most."""

    name: str
    figure: str
    peer: str
    against: str
    at_most: float


def judged(goals: Sequence[Goal], runs: dict[str, list[Run]]) -> list[str]:
    """Return a line for each goal: the median of the rounds' ratios, its spread, and what was to be reached.

    The ratio is taken within each round: the machine is the same for both then.
    """
    lines = []
    for goal in goals:
        figure = FIGURES[goal.figure]
        pairs = zip(runs.get(goal.peer, ()), runs.get(goal.against, ()), strict=False)
        ratios = sorted(figure(mine) / figure(theirs) for mine, theirs in pairs if figure(theirs) > 0)
        if ratios:
            met = "met" if median(ratios) <= goal.at_most else "MISSED"
            spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
            lines.append(f"{goal.name}: {median(ratios):.2f} ({spread}), goal at most {goal.at_most:g}: {met}")
    return lines
