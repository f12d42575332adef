"""Every figure that /metrics shows, by name. No label holds an id, a name of a person or clinic, or free text.

Cheap by construction: a call is counted when it ends, from what it has counted itself; nothing happens on the path of
its sound. A label's values are a fixed set: what is not in it counts as "other".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from uuid import UUID

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from agents_app.tools import registered_tools
from sessions_app.effects import CallEnded, Fact, ItemSaved
from sessions_app.models import CallSession, Item, ToolCall

OTHER = "other"
# What a caller feels: half a second is quick, three are long.
REPLY_BUCKETS = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
TOOL_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LAG_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
DURATION_BUCKETS = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0)

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(f"frontdesk_{name}", text, labels, registry=REGISTRY)


def _gauge(name: str, text: str) -> Gauge:
    return Gauge(f"frontdesk_{name}", text, registry=REGISTRY)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(f"frontdesk_{name}", text, labels, buckets=buckets, registry=REGISTRY)


CALLS_LIVE = _gauge("calls_live", "Calls in progress")
SOCKETS_OPEN = _gauge("sockets_open", "Callers' sockets")
TASKS = _gauge("tasks", "Tasks of the event loop")
CALLS_STARTED = _counter("calls_started", "Calls begun")
CALLS_ENDED = _counter("calls_ended", "Calls ended", "reason")
CALLS_REFUSED = _counter("calls_refused", "Calls refused after the socket was accepted", "cause")
CALL_SECONDS = _histogram("call_seconds", "How long calls lasted", DURATION_BUCKETS)
CALL_OUTCOMES = _counter("call_outcomes", "What calls came to", "outcome")
AUDIO_FRAMES = _counter("audio_frames", "Frames of sound, counted when their call ends", "direction")
AUDIO_SECONDS = _counter("audio_seconds", "Sound of replies and of callers, counted when their call ends", "speaker")
AUDIO_DROPPED = _counter("audio_dropped_frames", "Frames of callers that were not passed on", "cause")
TOKENS = _counter("tokens", "Tokens that upstream reported", "kind")
EVENTS_BAD = _counter("events_refused", "Events that were not understood or not allowed", "side")
FIRST_SOUND_SECONDS = _histogram("first_sound_seconds", "End of a caller's turn to the first sound", REPLY_BUCKETS)
INTERRUPTIONS = _counter("interruptions", "Replies that the caller cut short")
TOOL_CALLS = _counter("tool_calls", "Function calls", "tool", "status")
TOOL_SECONDS = _histogram("tool_seconds", "How long function calls took", TOOL_BUCKETS, "tool")
UPSTREAM_CONNECTS = _counter("upstream_connects", "Tries to connect upstream", "result")
UPSTREAM_LOST = _counter("upstream_lost", "Upstream connections that ended unasked", "code")
UPSTREAM_SECONDS = _histogram("upstream_connect_seconds", "How long connecting took", TOOL_BUCKETS)
FAULTS = _counter("faults", "Errors in the log, by the module that wrote them", "module")
LOOP_LAG_SECONDS = _histogram("loop_lag_seconds", "How late the event loop was, looked at each 0.1 s", LAG_BUCKETS)
LOG_LINES_DROPPED = _counter("log_lines_dropped", "Lines of the log that nobody took in time")
FACTS_WAITING = _gauge("recorder_facts_waiting", "Facts in memory: neither in the database nor in the journal")
FACTS_DROPPED = _counter("recorder_facts_dropped", "Facts that were lost")
FACTS_SET_ASIDE = _gauge("recorder_facts_set_aside", "Facts that the database refuses, kept for people to look at")
JOURNAL_BYTES = _gauge("journal_bytes", "Facts in the journal that are not in the database yet")
RECORDER_TROUBLE = _gauge("recorder_trouble_seconds", "For how long the database has taken nothing")
DRAINING = _gauge("draining", "1 while the process lets its calls end")

# Label values that may occur, so that a series exists before its first event.
_REASONS = frozenset(CallSession.EndReason.values)
_OUTCOMES = frozenset(CallSession.Outcome.values)
_STATUSES = frozenset(ToolCall.Status.values)
_SPEAKERS = frozenset(Item.Speaker.values)
_COUNTED_FRAMES = {
    "from_caller:input_audio_buffer.append": "from_caller",
    "to_model:input_audio_buffer.append": "to_model",
    "from_model:response.output_audio.delta": "from_model",
    "to_caller:response.output_audio.delta": "to_caller",
}
_COUNTED_DROPS = {"audio_too_fast": "too_fast", "early_audio_dropped": "early", "odd_audio": "odd"}
_COUNTED_BAD = {"malformed": "model", "from_caller:refused": "caller"}


class CountedFacts:
    """Takes one call's facts, counts them, and hands them on. An item is told again each time more is known of it."""

    def __init__(self, put: Callable[[UUID, Fact], None]) -> None:
        self._put = put
        self._items: dict[str, ItemSaved] = {}
        CALLS_STARTED.inc()

    def put(self, session_id: UUID, fact: Fact) -> None:
        self._put(session_id, fact)
        self._count(fact)

    def _count(self, fact: Fact) -> None:
        if isinstance(fact, ItemSaved):
            before, self._items[fact.item_id] = self._items.get(fact.item_id), fact
            if fact.first_audio_ms is not None and (before is None or before.first_audio_ms is None):
                FIRST_SOUND_SECONDS.observe(fact.first_audio_ms / 1000)
        elif isinstance(fact, CallEnded):
            _ended(fact)
            for item in self._items.values():
                AUDIO_SECONDS.labels(_one_of(item.speaker, _SPEAKERS)).inc(item.audio_ms / 1000)
                INTERRUPTIONS.inc(item.interrupted)


def _ended(fact: CallEnded) -> None:
    CALLS_ENDED.labels(_one_of(fact.reason, _REASONS)).inc()
    CALL_OUTCOMES.labels(_one_of(fact.outcome, _OUTCOMES)).inc()
    CALL_SECONDS.observe(fact.at_ms / 1000)
    for counted, (counter, value) in _OF_COUNTERS.items():
        if fact.counters.get(counted):
            counter.labels(value).inc(fact.counters[counted])
    for kind, tokens in fact.usage.items():
        if isinstance(tokens, int) and re.fullmatch(r"[a-z_]{1,32}", kind):
            TOKENS.labels(kind).inc(tokens)


_OF_COUNTERS: dict[str, tuple[Counter, str]] = {
    **{counted: (AUDIO_FRAMES, direction) for counted, direction in _COUNTED_FRAMES.items()},
    **{counted: (AUDIO_DROPPED, cause) for counted, cause in _COUNTED_DROPS.items()},
    **{counted: (EVENTS_BAD, side) for counted, side in _COUNTED_BAD.items()},
}


def tool_ran(name: str, status: str, seconds: float) -> None:
    tool = _one_of(name, registered_tools())
    TOOL_CALLS.labels(tool, _one_of(status, _STATUSES)).inc()
    TOOL_SECONDS.labels(tool).observe(seconds)


def upstream_code(code: str) -> str:
    """Return our own word for how upstream failed, or "other": a provider's code could be anything."""
    return code if re.fullmatch(r"upstream_([a-z]{1,20}|(closed_)?\d{3,4})", code) else OTHER


def _one_of(value: str, known: Container[str]) -> str:
    return value if value in known else OTHER


_caught_up: dict[Counter, float] = {}


def catch_up(counter: Counter, total: float) -> None:
    """Bring a counter to what somebody else has counted."""
    counter.inc(max(0.0, total - _caught_up.get(counter, 0.0)))
    _caught_up[counter] = total


def exposition() -> bytes:
    """Return all figures in the text format of Prometheus."""
    return generate_latest(REGISTRY)
