"""What a log may hold: constant messages, types, places and ids. Never speech, arguments, addresses or exception text.

Lines go through a bounded queue to a thread of their own: a reader that does not read costs lines, which are counted,
and never a call its sound. Knows Django's loggers and those of the servers, which write texts of others.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import sys
import threading
import traceback
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

OWN = ("agents_app", "sessions_app", "config")
NAMING_IDS = (
    "django_tasks",
    "django_tasks_db",
)  # the tasks' worker: its messages are filled with ids, paths and states
QUEUED_LINES = 10_000
OTHERS_LINES, OTHERS_S = 20, 60.0  # of one place in others' code: whoever connects has them written at will
LEFT_OUT = "frontdesk_left_out"  # of a record: how many like it were not written before it
MAX_VALUE_CHARS = 200
MAX_FRAMES = 12  # of a traceback, from where it was raised outwards
CLOSE_S = 2.0  # for the lines that wait when the process ends

# All that a line of ours may say beside its message; a test holds the code to it.
EXTRA_KEYS = frozenset(
    {
        *("call", "clinic", "function_call", "session", "tool"),  # ids, and the names of tools
        *("error", "fact", "journal", "owner", "server", "stack", "sweep", "url"),  # types, places, names of ours
        *("attempt", "bytes", "cancelled", "count", "facts", "late_ms", "period", "refused"),
    }
)


class JsonLines(logging.Formatter):
    """One line of JSON a record."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"at": at, "level": record.levelname, "logger": record.name, "message": message(record)}
        line |= {name: _plain(value) for name, value in _extra(record)} | _request(record)
        if record.exc_info and record.exc_info[0] is not None:
            line |= {"exception": record.exc_info[0].__name__, "raised": places(record.exc_info[2])}
        return json.dumps(line, ensure_ascii=False)


class PlainLines(logging.Formatter):
    """For developers alone: what they need to see, with Python's own tracebacks, which hold texts."""

    def format(self, record: logging.LogRecord) -> str:
        extra = " ".join(f"{name}={value}" for name, value in _extra(record))
        return f"{super().format(record)} {extra}".rstrip()


def message(record: logging.LogRecord) -> str:
    """Return what is constant in a record's message.

    Ours are constant: a test sees to it. Of others' only the template is told, since they fill in addresses, frames and
    exceptions; and of that the first line: asyncio's is followed by the exception's text. Django's security log is
    nothing but the text of an exception.
    """
    if record.name.startswith("django.security"):
        return "A request was refused"
    if record.name.startswith("django.request"):
        return f"A request was answered with {getattr(record, 'status_code', 'an error')}"
    text = record.getMessage() if record.name.partition(".")[0] in NAMING_IDS else str(record.msg)
    return text.partition("\n")[0][:MAX_VALUE_CHARS]


def places(trace: TracebackType | None) -> list[str]:
    """Return where an exception was raised and through what, innermost first: file, line and function alone."""
    frames = traceback.extract_tb(trace)
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames)][:MAX_FRAMES]


def _extra(record: logging.LogRecord) -> list[tuple[str, Any]]:
    """Return the listed keys of a record of ours. Others' records may hold anything under any name."""
    if not _own(record):
        left_out = getattr(record, LEFT_OUT, 0)
        return [("left_out", left_out)] if left_out else []
    return [(name, value) for name, value in vars(record).items() if name in EXTRA_KEYS]


def _own(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] in OWN


def _request(record: logging.LogRecord) -> dict[str, str]:
    """Return which address of ours a request of Django's was for: its pattern, without what stood in it."""
    match = getattr(getattr(record, "request", None), "resolver_match", None)
    return {"route": str(match.route)} if record.name.startswith("django.") and match is not None else {}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value[:MAX_FRAMES]]
    return value if value is None or isinstance(value, bool | int | float) else str(value)[:MAX_VALUE_CHARS]


class Seldom:
    """Lets through so many records of one place in others' code, and counts those that it leaves out."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], tuple[float, int]] = {}  # by place: since when, and how many

    def lets(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be written. The first one after some that were left out tells how many."""
        place = record.pathname, record.lineno
        since, count = self._seen.get(place, (record.created, 0))
        if record.created - since >= OTHERS_S:
            setattr(record, LEFT_OUT, max(0, count - OTHERS_LINES))
            since, count = record.created, 0
        self._seen[place] = since, count + 1
        return count < OTHERS_LINES


class QueuedStream(logging.Handler):
    """Writes lines to a stream from a thread. A line for which there is no room is counted, not waited for."""

    def __init__(self, stream: TextIO | None = None, *, queued_lines: int = QUEUED_LINES) -> None:
        super().__init__()
        self._stream = stream or sys.stderr
        self._lines: queue.Queue[str | None] = queue.Queue(queued_lines)
        self._thread: threading.Thread | None = None
        self._seldom = Seldom()
        self.dropped = 0
        self.errors: Counter[str] = Counter()  # by logger: ours have the name of their module

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:
            self.errors[record.name] += 1
        if not _own(record) and not self._seldom.lets(record):
            return
        try:
            line = self.format(record)
        except Exception as error:  # a record that cannot be told is told as that: never by a traceback with its values
            line = f"A record of {record.name} could not be written: {type(error).__name__}"
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self.dropped += 1
        if self._thread is None:  # begun by the first line: a fork before it has none to lose
            self._thread = threading.Thread(target=self._write, name="log", daemon=True)
            self._thread.start()

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            with contextlib.suppress(OSError, ValueError):  # nobody reads any more
                self._stream.write(line + "\n")
                self._stream.flush()

    def close(self) -> None:
        """Write what waits, as far as somebody reads it in time."""
        thread, self._thread = self._thread, None
        if thread is not None:
            with contextlib.suppress(queue.Full):
                self._lines.put(None, timeout=CLOSE_S)
            thread.join(timeout=CLOSE_S)
        super().close()


def handlers() -> list[QueuedStream]:
    """Return what this process logs through."""
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, QueuedStream)]


def hide_exception_text() -> None:
    """Tell of what nobody caught by type and place, wherever Python itself would print its text."""
    logger = logging.getLogger("config.uncaught")

    def in_thread(args: threading.ExceptHookArgs) -> None:
        logger.error("A thread ended by an exception", exc_info=(args.exc_type, args.exc_value, args.exc_traceback))  # type: ignore[arg-type]  # all three are there, or none

    def unraisable(args: Any) -> None:
        logger.error("An exception had nowhere to go", exc_info=(args.exc_type, args.exc_value, args.exc_traceback))

    threading.excepthook = in_thread
    sys.unraisablehook = unraisable


def configuration(*, debug: bool) -> dict[str, Any]:
    """Return the logging of a process: JSON without texts; in DEBUG plain lines, with tracebacks."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {"()": JsonLines},
            "plain": {"()": PlainLines, "format": "{levelname} {name} {message}", "style": "{"},
        },
        "handlers": {"console": {"()": QueuedStream, "formatter": "plain" if debug else "json"}},
        "root": {"handlers": ["console"], "level": "INFO"},
        # Django gives its own loggers a handler each, and in DEBUG each line came twice; and one that mails texts.
        "loggers": {
            "django": {"handlers": [], "level": "INFO", "propagate": True},
            "django.server": {"handlers": [], "level": "INFO", "propagate": True},
            "daphne": {"level": "WARNING"},
            # It tells each try to connect, over several lines; whoever asked for a connection is told too.
            "psycopg.pool": {"level": "CRITICAL"},
        },
    }
