"""What may stand in a log: constant messages, types, places and ids; and what a reader that does not read may cost."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import io
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from config.logs import EXTRA_KEYS, OTHERS_LINES, OTHERS_S, JsonLines, QueuedStream

ROOT = Path(__file__).resolve().parent.parent
CANARY = "CANARY-SPEECH"
VERBS = {"debug", "info", "warning", "error", "exception", "critical", "log"}


def sources() -> list[Path]:
    return [path for package in ("agents_app", "sessions_app", "config") for path in (ROOT / package).rglob("*.py")]


def logger_calls(node: ast.AST, scope: ast.AST | None = None) -> Iterator[tuple[ast.Call, ast.AST]]:
    """Yield each call of a logger, and the function that it stands in."""
    scope = scope or node
    for child in ast.iter_child_nodes(node):
        inner = child if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else scope
        yield from logger_calls(child, inner)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in VERBS:
        owner = node.func.value
        if isinstance(owner, ast.Name) and owner.id in ("logger", "logging"):
            yield node, scope


def keys_of(value: ast.expr, scope: ast.AST, tree: ast.AST) -> set[str | None]:
    """Return the keys that `extra` may have; None stands for one that cannot be read from the source."""
    if isinstance(value, ast.Dict):
        written = {str(key.value) if isinstance(key, ast.Constant) else None for key in value.keys if key is not None}
        spread = [one for key, one in zip(value.keys, value.values, strict=True) if key is None]
        return written.union(*(keys_of(one, scope, tree) for one in spread))
    if isinstance(value, ast.BinOp):
        return keys_of(value.left, scope, tree) | keys_of(value.right, scope, tree)
    if isinstance(value, ast.IfExp):
        return keys_of(value.body, scope, tree) | keys_of(value.orelse, scope, tree)
    if isinstance(value, ast.Name):
        given = [
            (one.value, scope) for one in ast.walk(scope) if isinstance(one, ast.Assign) and names(one) == [value.id]
        ]
    elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name | ast.Attribute):
        name = value.func.id if isinstance(value.func, ast.Name) else value.func.attr
        made = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef) and one.name == name]
        given = [
            (one.value, each)
            for each in made
            for one in ast.walk(each)
            if isinstance(one, ast.Return) and one.value is not None
        ]
    else:
        return {None}
    return set().union(*(keys_of(one, where, tree) for one, where in given)) if given else {None}


def names(node: ast.Assign) -> list[str]:
    return [target.id for target in node.targets if isinstance(target, ast.Name)]


def test_every_message_of_ours_is_constant_and_says_only_listed_keys():
    wrong, seen = [], 0
    for path in sources():
        tree = ast.parse(path.read_text())
        for call, scope in logger_calls(tree):
            seen += 1
            constant = [isinstance(one, ast.Constant) and isinstance(one.value, str) for one in call.args]
            given = {keyword.arg: keyword.value for keyword in call.keywords}
            keys = keys_of(given["extra"], scope, tree) if "extra" in given else set()
            allowed = {"extra", "exc_info"} if path.name == "logs.py" else {"extra"}
            if constant != [True] or not given.keys() <= allowed or not keys <= EXTRA_KEYS:
                wrong.append(f"{path.relative_to(ROOT)}:{call.lineno}")

    assert wrong == []
    assert seen > 20


@pytest.mark.parametrize(
    "source",
    [
        'logger.error(f"{name} failed")',
        'logger.error("%s failed", name)',
        "logger.error(text)",
        'logger.error("Failed", exc_info=True)',
        'logger.error("Failed", extra={"text": text})',
        'logger.error("Failed", extra={**values})',
        'logger.error("Failed", extra=values)',
    ],
)
def test_the_rule_sees_what_breaks_it(source: str):
    tree = ast.parse(source)
    [(call, scope)] = logger_calls(tree)
    given = {keyword.arg: keyword.value for keyword in call.keywords}

    constant = [isinstance(one, ast.Constant) for one in call.args] == [True]
    keys = keys_of(given["extra"], scope, tree) if "extra" in given else set()

    assert not (constant and given.keys() <= {"extra"} and keys <= EXTRA_KEYS)


def line_of(logger: str, message: str, *args: object, **fields: Any) -> dict[str, Any]:
    made = logging.LogRecord(logger, logging.ERROR, __file__, 1, message, args, fields.pop("exc_info", None))
    vars(made).update(fields)
    line: dict[str, Any] = json.loads(JsonLines().format(made))
    return line


def a_failure() -> Any:
    try:
        raise ValueError(CANARY)
    except ValueError:
        return sys.exc_info()


def test_exception_is_told_by_type_and_place():
    line = line_of("sessions_app.bridge", "A call failed", exc_info=a_failure(), call="c1", said=CANARY)

    assert line.pop("at").endswith("+00:00")
    [raised] = line.pop("raised")
    assert raised.startswith("test_logs.py:")
    assert raised.endswith(" a_failure")
    assert line == {
        "level": "ERROR",
        "logger": "sessions_app.bridge",
        "message": "A call failed",
        "call": "c1",
        "exception": "ValueError",
    }


@pytest.mark.parametrize(
    ("logger", "message", "args", "told"),
    [
        ("django.request", "%s: %s", ("Not Found", f"/calls/{CANARY}"), "A request was answered with 404"),
        ("django.security.DisallowedHost", f"Invalid host {CANARY}", (), "A request was refused"),
        ("uvicorn.error", '%s - "WebSocket %s" [accepted]', ("1.2.3.4", CANARY), '%s - "WebSocket %s" [accepted]'),
        ("daphne.server", "Exception inside application: %s", (CANARY,), "Exception inside application: %s"),
        ("django_tasks", "Task id=%s state=%s", (7, "FAILED"), "Task id=7 state=FAILED"),
    ],
)
def test_what_others_fill_into_their_messages_is_not_told(logger: str, message: str, args: Any, told: str):
    line = line_of(logger, message, *args, status_code=404, exc_info=a_failure(), server=CANARY)

    assert line["message"] == told
    assert CANARY not in json.dumps(line)


async def test_exception_that_nobody_awaited_is_told_without_its_text():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("asyncio")
    logger.addHandler(handler)

    async def fail() -> None:
        raise ValueError(CANARY)

    try:
        task = asyncio.create_task(fail())
        await asyncio.wait({task})
        del task
    finally:
        logger.removeHandler(handler)

    line = json.loads(stream.getvalue())
    assert (line["message"], line["exception"]) == ("Task exception was never retrieved", "ValueError")
    assert CANARY not in stream.getvalue()


def test_exception_in_a_thread_is_told_without_its_text(tmp_path: Path):
    code = (
        "import django; django.setup(); import threading\n"
        f"def fail(): raise ValueError('{CANARY}')\n"
        "thread = threading.Thread(target=fail); thread.start(); thread.join()"
    )
    environment = {"DEBUG": "false", "DATA_DIR": str(tmp_path), "SECRET_KEY": "k" * 50, "ALLOWED_HOSTS": "a.example"}
    keys = {"DATA_KEYS": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "DJANGO_SETTINGS_MODULE": "config.settings"}

    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment, **keys, "DATABASE_URL": "", "REDIS_URL": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    [line] = [json.loads(text) for text in ran.stderr.splitlines()]
    assert (line["message"], line["exception"]) == ("A thread ended by an exception", "ValueError")
    assert CANARY not in ran.stderr


@pytest.fixture
def blocked() -> Iterator[tuple[QueuedStream, int]]:
    """Return a handler that writes into a pipe of which nobody reads, and the end to read from."""
    reader, writer = os.pipe()
    stream = open(writer, "w", encoding="utf-8", buffering=1)  # noqa: SIM115 - closed below, on a broken pipe
    handler = QueuedStream(stream, queued_lines=100)
    yield handler, reader
    os.close(reader)
    handler.close()
    with contextlib.suppress(BrokenPipeError):
        stream.close()


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("sessions_app", logging.INFO, __file__, 1, text, (), None)


def test_r44_lines_for_which_there_is_no_room_are_counted_and_nobody_waits(blocked: tuple[QueuedStream, int]):
    handler, _reader = blocked
    lines = 20_000  # a pipe holds 64 KiB

    writer = threading.Thread(target=lambda: [handler.handle(record("x" * 100)) for _ in range(lines)])
    writer.start()
    writer.join(timeout=20)

    assert not writer.is_alive()
    assert lines - 65_536 // 101 - 200 <= handler.dropped < lines


def test_r44_lines_come_in_order_when_somebody_reads(blocked: tuple[QueuedStream, int]):
    handler, reader = blocked

    for number in range(50):
        handler.handle(record(f"line {number}"))
    handler.close()

    assert os.read(reader, 65_536).decode().split("\n") == [*(f"line {number}" for number in range(50)), ""]
    assert handler.dropped == 0


def test_r46_others_say_the_same_seldom_and_we_say_all(blocked: tuple[QueuedStream, int]):
    """10,000 handshakes that are none are not 10,000 lines. How many came is in a later line, and in `errors`."""
    handler, reader = blocked
    handler.setFormatter(JsonLines())

    def say(logger: str, at: float) -> None:
        one = logging.LogRecord(logger, logging.ERROR, "/lib/server.py", 7, "Invalid request", (), None)
        one.created = at
        handler.handle(one)

    for _ in range(50):
        say("uvicorn.error", 1000.0)
        say("sessions_app.load", 1000.0)
    say("uvicorn.error", 1000.0 + OTHERS_S)
    handler.close()

    lines = [json.loads(line) for line in os.read(reader, 65_536).decode().splitlines()]
    told = [line.get("left_out", 0) for line in lines if line["logger"] == "uvicorn.error"]
    assert told == [0] * OTHERS_LINES + [50 - OTHERS_LINES]
    assert len(lines) - len(told) == 50
    assert handler.errors == {"uvicorn.error": 51, "sessions_app.load": 50}


def test_django_tells_each_warning_once(tmp_path: Path):
    code = "import django; django.setup(); import logging; logging.getLogger('django.request').warning('once')"
    environment = {
        **os.environ,
        "DEBUG": "true",
        "DATA_DIR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }

    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True
    )

    assert ran.stderr == "WARNING django.request once\n"
