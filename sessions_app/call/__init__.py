"""One patient's call as a state machine that does no I/O.

`Call` is told what the caller, the model, a tool and the clock say, each with `now`, and answers with a list of
effects. It never awaits, never queries and reads no clock. Times inside are whole milliseconds since the call began.
"""

from __future__ import annotations

from sessions_app import events
from sessions_app.call import (
    away,
    caller_side,
    ending,
    landing,
    model_side,
    monologue,
    past,
    tool_side,
    turns,
    upstream,
    waiting,
)
from sessions_app.call.brief import CallBrief
from sessions_app.call.budget import Standing
from sessions_app.call.function_calls import ToolResult
from sessions_app.call.state import CallState
from sessions_app.dialect import said
from sessions_app.effects import Effect

__all__ = ["Call", "CallBrief", "ToolResult"]


class Call:
    """`now` is in seconds of one monotonic clock; `started` is its value when the caller's key was spent."""

    def __init__(self, brief: CallBrief, *, started: float) -> None:
        self._state = CallState(brief)
        self._started = started
        if brief.past is not None:
            past.restore(self._state, brief.past)

    def begun(self, *, now: float) -> list[Effect]:
        """The call exists: the upstream connection is asked for while the caller's socket is being accepted."""
        return past.settle(self._state) + upstream.connect(self._state, self._at(now))

    def opened(self, *, now: float, token: str = "") -> list[Effect]:
        """The caller's leg is there. With `token` it can come back when it is lost."""
        at, state = self._at(now), self._state
        first, state.life.opened = not state.life.opened, True
        effects = ending.opened(state, at) + ending.way_back(state, token, at)
        return effects + (upstream.configure(state, at) if first and state.link.connected else [])

    def model_connected(self, *, now: float) -> list[Effect]:
        """The upstream connection that was asked for stands."""
        return upstream.connected(self._state, self._at(now))

    def from_caller(self, event: said.CallerEvent, *, now: float) -> list[Effect]:
        at = self._at(now)
        if isinstance(event, said.Append):  # 25 a second, and none of them ends a call
            return caller_side.on_sound(self._state, event, at)
        return caller_side.on_caller(self._state, event, at) + ending.finished(self._state, at)

    def sound_dropped(self, byte_count: int, *, behind: int, now: float) -> list[Effect]:
        """Upstream is too slow: so much of the caller's sound was dropped, and `behind` bytes after it wait."""
        return caller_side.sound_dropped(self._state, byte_count, behind, self._at(now))

    def admits(self, byte_count: int, *, now: float) -> bool:
        """Whether the caller may send a message of this size now; one that it may not is not looked at."""
        return self._state.pace.admits(byte_count, self._at(now))

    def too_fast(self, *, now: float) -> list[Effect]:
        """A message of the caller's was dropped: it is told once, and the call ends when that does not help."""
        return caller_side.too_fast(self._state, self._at(now))

    def refused(self, refusal: said.Refused, *, now: float) -> list[Effect]:
        """The caller said what it may not: it is told, and the call goes on."""
        at = self._at(now)
        noted = self._state.tally.note("from_caller", "refused", at, {"code": refusal.code})
        told = self._state.tell_error(refusal.code, refusal.message, at, event_id=refusal.event_id, param=refusal.param)
        return [*noted, *told]

    def caller_left(self, *, now: float, code: int) -> list[Effect]:
        """The caller's socket is gone: with 1000 it ended the call, with anything else it may come back."""
        at = self._at(now)
        return away.caller_left(self._state, code, at) + ending.finished(self._state, at)

    def caller_back(self, *, now: float, token: str) -> list[Effect]:
        """The caller's leg is there again, on another socket; the next time it comes with `token`."""
        return away.caller_back(self._state, token, self._at(now))

    def from_model(self, event: events.ServerEvent | events.AudioDelta, *, now: float) -> list[Effect]:
        at, state = self._at(now), self._state
        if not state.tally.first_time(event.event_id):
            return []
        if isinstance(event, events.AudioDelta):  # 25 a second and more: it makes nothing ready, costs and ends nothing
            state.link.heard_at = at
            heard = model_side.on_sound(state, event, at)
            return heard + away.bounded(state, at) if state.gone else heard
        was_ready, state.link.heard_at = state.link.ready, at
        effects = model_side.on_event(state, event, at) + away.bounded(state, at)
        if state.link.ready and not was_ready:
            effects += self._go_on(at)
        effects += landing.spent(state, at)
        return effects + ending.finished(state, at)

    def _go_on(self, at: int) -> list[Effect]:
        """A session is ready for the conversation."""
        # First how the caller wants to be answered: the greeting is an answer too.
        introduced = caller_side.catch_up(self._state, at, introductions=True)
        owed = upstream.go_on(self._state, at)
        return [*introduced, *owed, *caller_side.catch_up(self._state, at)]

    def malformed(self, *, now: float) -> list[Effect]:
        """A frame of the model's side could not be read: it is counted, and the call goes on unless there are many."""
        at, state = self._at(now), self._state
        state.tally.counters["malformed"] += 1
        return upstream.renew(state, "upstream_unreadable", at) if state.link.unreadable(at) else []

    def model_lost(self, code: str, *, now: float) -> list[Effect]:
        """The upstream connection is gone, or never came; `code` says why."""
        at = self._at(now)
        return upstream.lost(self._state, code, at) + ending.finished(self._state, at)

    def from_tool(self, call_id: str, result: ToolResult, *, now: float) -> list[Effect]:
        at = self._at(now)
        return tool_side.tool_done(self._state, call_id, result, at) + ending.finished(self._state, at)

    def from_ledger(self, standing: Standing, *, now: float) -> list[Effect]:
        """A total was settled: so the clinic's budget stands."""
        at = self._at(now)
        return landing.stands(self._state, standing, at) + ending.finished(self._state, at)

    def wrap_up(self, *, now: float) -> list[Effect]:
        """The process is about to stop: say goodbye, and end so that the caller's page may call again."""
        at, state = self._at(now), self._state
        if state.ending or state.life.goodbye_by is not None:
            return []
        if state.gone:  # nobody hears a goodbye
            return ending.caller_left(state, at, ended=False) + ending.finished(state, at)
        said = ending.say_goodbye(state, "interrupted", at, code=ending.CLOSE_RESTART)
        return said + ending.finished(state, at)

    def let_go(self) -> None:
        """Another process carries the call by now: here it is over, and leaves no end."""
        self._state.life.state = "ended"

    def stop(self, reason: str, *, now: float) -> list[Effect]:
        """End now: the process must, something in it failed, or staff said so."""
        self._state.life.reason = self._state.life.reason or reason
        self._state.life.code = ending.STOP_CODES[reason]
        return ending.close(self._state, self._at(now))

    def tick(self, *, now: float) -> list[Effect]:
        """Do what is due: the outbox's pace, limits, and waits that have run out."""
        at, state = self._at(now), self._state
        effects = state.went_out(state.outbox.due(at), at)
        effects += turns.settle_cuts(state, at)
        tool_side.recap_heard(state, at)
        effects += tool_side.release_held(state, at)
        if state.life.retry_at is not None and at >= state.life.retry_at:
            effects += upstream.retry(state, at)
        effects += upstream.watch(state, at)
        effects += monologue.tick(state, at)
        effects += away.tick(state, at)
        effects += waiting.speak_up(state, at)
        effects += landing.grace_over(state, at)
        effects += ending.by_the_clock(state, at)
        return effects + ending.finished(state, at)

    def next_tick(self) -> float | None:
        """Return when `tick` is due at the latest, on the clock of `now`; None when nothing is timed."""
        state = self._state
        times = (
            ending.next_tick(state),
            upstream.watch_until(state),
            waiting.speaks_up_at(state),
            away.due_at(state),
            monologue.due_at(state),
        )
        at = min((time for time in times if time is not None), default=None)
        return None if at is None or self.ended else self._started + at / 1000

    @property
    def ended(self) -> bool:
        return self._state.life.state == "ended"

    def _at(self, now: float) -> int:
        return max(0, round((now - self._started) * 1000))
