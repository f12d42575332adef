"""Runs the peers in interleaved rounds, their order reversed in every other round, and prints the table of ratios.

    python -m bench [--rounds 3] [--callers 24] [--seconds 6] [--peers pump,uvicorn/sqlite] [--capacity]

The process under test has the first core for itself, generator and upstream share the second. "Added" is a quantile of
the proxied callers less the same quantile of the direct ones in the same window. Ratios are to the pump.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg

from bench.figures import P99, Goal, Run, Window, judged, table
from bench.peers import ORIGIN, Installation, Peer, Running, climbing, load, running, running_upstream

REFERENCE = "pump"
PEERS = (
    Peer(REFERENCE, "pump"),
    Peer("uvicorn/sqlite", "uvicorn", "sqlite"),
    Peer("uvicorn/sqlite slow", "uvicorn", "sqlite", slow=True),
    Peer("uvicorn/postgresql", "uvicorn", "postgresql"),
    Peer("uvicorn/postgresql slow", "uvicorn", "postgresql", slow=True),
    Peer("daphne/sqlite", "daphne", "sqlite"),
    Peer("daphne/sqlite slow", "daphne", "sqlite", slow=True),
    Peer("daphne/postgresql", "daphne", "postgresql"),
    Peer("stock on daphne", "stock"),
    Peer("stock on daphne slow", "stock", slow=True),
)
CPU, ADDED_P99 = "CPU s per caller-minute", "added p99 ms"
GOALS = (
    Goal("uvicorn, SQLite: CPU / pump", CPU, "uvicorn/sqlite", REFERENCE, 1.15),
    Goal("uvicorn, PostgreSQL: CPU / pump", CPU, "uvicorn/postgresql", REFERENCE, 1.15),
    Goal("uvicorn, SQLite: added p99 / pump", ADDED_P99, "uvicorn/sqlite", REFERENCE, 1.5),
    Goal("uvicorn, SQLite, slow query: added p99 / pump", ADDED_P99, "uvicorn/sqlite slow", REFERENCE, 1.5),
    Goal("uvicorn, PostgreSQL: added p99 / pump", ADDED_P99, "uvicorn/postgresql", REFERENCE, 1.5),
    Goal("uvicorn, PostgreSQL, slow query: added p99 / pump", ADDED_P99, "uvicorn/postgresql slow", REFERENCE, 1.5),
    Goal("daphne, SQLite: CPU / stock consumer", CPU, "daphne/sqlite", "stock on daphne", 0.7),
    Goal("daphne, PostgreSQL: CPU / stock consumer", CPU, "daphne/postgresql", "stock on daphne", 0.7),
)
CAPACITY_STEPS = [round(60 * 1.12**step) for step in range(22)]
CAPACITY_SECONDS, CAPACITY_P99_MS = 4.0, 20.0
CAPACITY_TRIES = 3  # of one step: a moment's stall of the machine is not the peer's
CAPACITY_PEERS = (REFERENCE, "uvicorn/sqlite", "uvicorn/postgresql", "daphne/sqlite", "stock on daphne")
QUOTABLE_CORES = 0.15  # with more of the machine in others' hands, a p99 says nothing
PATIENCE_S = 120.0
ADMIN_DATABASE = "postgres://postgres@127.0.0.1:5432/postgres"
OWN_DATABASE = "frontdesk_bench"


@dataclass(frozen=True)
class Place:
    """Where the runs happen."""

    upstream_port: int
    upstream_pid: int
    installations: dict[str, Installation]
    log: Path


def run(peer: Peer, place: Place, options: argparse.Namespace) -> Run:
    """Start a peer, measure it once, end it."""
    installation = place.installations.get(peer.database)
    with running(peer, installation, upstream_port=place.upstream_port, log=place.log) as process:
        count = options.callers
        orders = {
            **_orders(process, place, options.seconds),
            "keys": installation.ask(f"keys {count}") if installation else [""] * count,
            "slow_url": f"{process.url}-slow",
            "slow_key": installation.ask("slow") if installation and peer.slow else "",
        }
        measured = load(orders, within_s=options.seconds + PATIENCE_S)
    return _run(measured)


def _orders(process: Running, place: Place, seconds: float) -> dict[str, Any]:
    return {
        "url": process.url,
        "direct_url": f"ws://127.0.0.1:{place.upstream_port}/v1/realtime?model=bench",
        "pid": process.pid,
        "own_pids": [place.upstream_pid],
        "seconds": seconds,
        "origin": ORIGIN,
        "asks": not process.peer.ours,
    }


def capacity(peer: Peer, place: Place) -> int:
    """Return how many callers the peer carried at the last step before a frame was lost or the added p99 passed."""
    installation = place.installations.get(peer.database)
    carried = 0
    with (
        running(peer, installation, upstream_port=place.upstream_port, log=place.log) as process,
        climbing({**_orders(process, place, CAPACITY_SECONDS), "climbs": True}) as add,
    ):
        for before, callers in pairwise([0, *CAPACITY_STEPS]):
            more = callers - before
            keys = installation.ask(f"keys {more}") if installation else [""] * more
            if not any(_carries(peer, add(keys if first else [])) for first in [True] + [False] * (CAPACITY_TRIES - 1)):
                break
            carried = callers
    return carried


def _carries(peer: Peer, measured: dict[str, Any]) -> bool:
    """Say what a step measured, and whether its callers were carried."""
    window = Window(**measured)
    figures = (
        f"added p99 {window.added_ms[P99]:.1f} ms, core {window.cpu_s / window.seconds:.2f}, lost {window.lost}, "
        f"the generator late by {window.late_ms[P99]:.1f} ms"
    )
    print(f"    {peer.name:24} {window.callers:4} callers, {figures}", flush=True)
    return window.added_ms[P99] <= CAPACITY_P99_MS and not window.lost and not window.closed


def _run(measured: dict[str, Any]) -> Run:
    names = Window.__dataclass_fields__
    window = Window(**{name: value for name, value in measured.items() if name in names})
    return Run(window, tuple(measured["setup_ms"]), measured["first_setup_ms"], measured["memory_before_kib"])


@contextlib.contextmanager
def the_place(directory: Path) -> Iterator[Place]:
    with running_upstream() as (port, pid), contextlib.ExitStack() as stack:
        urls = {"sqlite": f"sqlite:///{directory / 'bench.sqlite3'}"}
        if url := own_postgresql():
            urls["postgresql"] = url
        installations = {}
        for name, url in urls.items():
            data = directory / name
            data.mkdir()
            installations[name] = Installation(data, database_url=url, upstream_port=port)
            stack.callback(installations[name].close)
        yield Place(port, pid, installations, directory / "log.txt")


def own_postgresql() -> str | None:
    """Return the address of a new database on this machine's PostgreSQL, or None when there is none."""
    try:
        with psycopg.connect(ADMIN_DATABASE, autocommit=True, connect_timeout=3) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {OWN_DATABASE} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {OWN_DATABASE}")
    except psycopg.Error:
        return None
    return ADMIN_DATABASE.removesuffix("postgres") + OWN_DATABASE


def main() -> None:
    options = parsed()
    with tempfile.TemporaryDirectory(prefix="frontdesk-bench-") as name, the_place(Path(name)) as place:
        wanted = options.peers.split(",") if options.peers else [peer.name for peer in PEERS]
        peers = [
            peer for peer in PEERS if peer.name in wanted and (not peer.ours or peer.database in place.installations)
        ]
        runs: dict[str, list[Run]] = {peer.name: [] for peer in peers}
        try:
            for round_number in range(options.rounds):
                for peer in peers if round_number % 2 == 0 else peers[::-1]:
                    runs[peer.name].append(run(peer, place, options))
                    print(_line(round_number + 1, peer, runs[peer.name][-1]), flush=True)
        except Exception:
            print(place.log.read_text()[-4000:])
            raise
        print(report(runs))
        if options.capacity:
            for peer in peers:
                if peer.name in CAPACITY_PEERS:
                    print(f"callers on a core, {peer.name}: {capacity(peer, place)}", flush=True)
        for database, installation in place.installations.items():
            cost = installation.ask("encode")
            if cost["spools"]:
                print(f"encoding after the call, {database}: {cost['cpu_s_per_minute']:.3g} CPU s per caller-minute")


def report(runs: dict[str, list[Run]]) -> str:
    lines = ["", table(runs, REFERENCE) if runs.get(REFERENCE) else "", ""]
    lines += judged(GOALS, runs)
    worst = max(one.window.others_s / one.window.seconds for some in runs.values() for one in some)
    if worst > QUOTABLE_CORES:
        lines.append(
            f"Others used up to {worst:.2f} cores meanwhile: CPU ratios hold, p95 and p99 are not to be quoted."
        )
    return "\n".join(lines)


def _line(round_number: int, peer: Peer, one: Run) -> str:
    window = one.window
    added = "/".join(f"{value:.2f}" for value in window.added_ms)
    return (
        f"round {round_number} {peer.name:24} CPU {window.cpu_per_caller_minute:.3f} added {added} ms "
        f"lost {window.lost} closed {window.closed} others {window.others_s / window.seconds:.2f}"
    )


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--callers", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--peers", default="")
    parser.add_argument("--capacity", action="store_true", help="also how many callers a core carries: minutes more")
    return parser.parse_args()


if __name__ == "__main__":
    main()
