"""Processes that record facts, are killed at a random moment, and had said before which facts are safe.

A program, so that its children begin with a copy of it and not with two seconds of imports. Takes one JSON object as
its argument, prints a list: for each kill the call, the first and the last fact that was safe, and what came later.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

from django.db import connection

import tests.conftest  # noqa: F401 - sets Django up
from sessions_app import recorder as recorder_module
from sessions_app.effects import EventSeen, ItemSaved
from sessions_app.recorder import Recorder

SEQS_A_PROCESS = 100_000
EVERY_S = 0.005
SHORT_PATIENCE_S = 0.02  # a process lives half a second here: two would be its whole life
LIFE_S = (0.05, 0.6)  # after its first safe fact


def main(calls: list[str], kills: int, directory: str, database: dict[str, Any]) -> list[dict[str, Any]]:
    connection.settings_dict.update(database)
    chance = random.Random(kills)
    report = []
    for n in range(kills):
        call, first = calls[n % len(calls)], n * SEQS_A_PROCESS + 1
        # Every other process finds no database, and has the journal alone.
        told = _killed(UUID(call), first, Path(directory), away=n % 2 == 1, life_s=chance.uniform(*LIFE_S))
        report.append({"call": call, "first": first, **told})
    return report


def _killed(call_id: UUID, first: int, directory: Path, *, away: bool, life_s: float) -> dict[str, Any]:
    """Let a process record until it is killed.

    Return the last fact that it had called safe, and of each later one how many seconds before the kill it was put.
    """
    heard, said = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(heard)
        _record(call_id, first, directory, said, away=away)
    os.close(said)
    safe, put_ns = 0, {}
    kill_ns: int | None = None
    with os.fdopen(heard) as lines:
        for line in lines:
            if not line.endswith("\n"):
                break
            word, seq, at_ns = line.split()
            if word == "put":
                put_ns[int(seq)] = int(at_ns)
            else:
                safe = int(seq)
            if safe and kill_ns is None:
                time.sleep(life_s)
                kill_ns = time.monotonic_ns()
                os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert kill_ns is not None
    return {"safe": safe, "before_s": {seq: (kill_ns - at) / 1e9 for seq, at in put_ns.items() if seq > safe}}


def _record(call_id: UUID, first: int, directory: Path, said: int, *, away: bool) -> NoReturn:
    if away:
        recorder_module.PATIENCE_S = SHORT_PATIENCE_S
        connection.settings_dict.update({"PORT": "1"} if connection.vendor == "postgresql" else {"NAME": "/nowhere/db"})
    recorder = Recorder(directory=directory)
    put = [first - 1]  # the last fact that was put
    threading.Thread(target=_say_what_is_safe, args=(recorder, put, first, said), daemon=True).start()
    while True:
        seq = put[0] + 1
        os.write(said, b"put %d %d\n" % (seq, time.monotonic_ns()))
        recorder.put(call_id, EventSeen(seq, "own", "test", seq))
        recorder.put(call_id, ItemSaved(f"item_{seq}", seq, "caller", "text", f"Words {seq}", "done", seq))
        put[0] = seq
        time.sleep(EVERY_S)


def _say_what_is_safe(recorder: Recorder, put: list[int], first: int, said: int) -> None:
    while True:
        last = put[0]
        if recorder.flush() and last >= first:
            os.write(said, b"safe %d 0\n" % last)
        time.sleep(EVERY_S)


if __name__ == "__main__":
    print(json.dumps(main(**json.loads(sys.argv[1]))))
