"""Facts of calls, for tests of what becomes of them."""

from __future__ import annotations

import logging
import threading
from typing import Any
from uuid import UUID

from agents_app.models import AgentVersion
from sessions_app.effects import CallEnded, EventSeen, ItemSaved
from sessions_app.models import CallSession
from sessions_app.recorder import Recorder
from tests.make_calls import STARTED
from tests.servers import live_agent


def a_call() -> CallSession:
    version = live_agent().live_version
    assert isinstance(version, AgentVersion)
    return CallSession.objects.create(
        clinic=version.agent.clinic, version=version, started_at=STARTED, state_history=[[0, "connecting"]]
    )


def seen(seq: int, **fields: Any) -> EventSeen:
    return EventSeen(seq, "from_model", "response.done", at_ms=seq * 10, fields=fields)


def said(item_id: str, text: Any = "Hello", **fields: Any) -> ItemSaved:
    return ItemSaved(
        **{
            "item_id": item_id,
            "position": 1,
            "speaker": "caller",
            "source": "speech",
            "text": text,
            "transcript_state": "done",
            "started_ms": 0,
            **fields,
        }
    )


def ended(**fields: Any) -> CallEnded:
    return CallEnded(
        **{
            "at_ms": 9000,
            "reason": "caller",
            "error_code": "",
            "outcome": "answered",
            "usage": {},
            "counters": {"a": 1},
            **fields,
        }
    )


def put(recorder: Recorder, call: CallSession | UUID, *facts: Any) -> None:
    for fact in facts:
        recorder.put(call.pk if isinstance(call, CallSession) else call, fact)


class Noticed(logging.Handler):
    """Says when one of the call's modules has logged a line that begins so."""

    def __init__(self, beginning: str) -> None:
        super().__init__()
        self._beginning = beginning
        self.seen = threading.Event()
        self.lines: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record)
        if record.getMessage().startswith(self._beginning):
            self.seen.set()

    def __enter__(self) -> Noticed:
        logging.getLogger("sessions_app").addHandler(self)
        return self

    def __exit__(self, *exc: object) -> None:
        logging.getLogger("sessions_app").removeHandler(self)
