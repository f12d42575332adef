"""One active response at a time. Pure.

Owns which response runs, what was asked for and not yet begun, and what waits. The service refuses a second
`response.create` while one is active, and begins responses by itself after speech.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sessions_app.dialect.said import REQUEST_KEY
from sessions_app.events import ResponseDone

MAX_WAITING = 8  # requests of the caller's
MAX_OVERTAKEN = 8
MAX_CANCELS, CANCELS_WITHIN_MS = 5, 1000  # upstream; beyond it a reply only falls silent


class Purpose(StrEnum):
    GREETING = "greeting"
    ANSWER = "answer"  # to tool outputs, or to a message of ours
    CALLER = "caller"  # the caller asked for it
    RECAP = "recap"
    GOODBYE = "goodbye"
    LINE = "line"  # a fixed line that has no sound of its own
    AUTOMATIC = "automatic"  # begun by the service after speech


@dataclass(frozen=True)
class Request:
    purpose: Purpose
    event_id: str
    response: dict[str, Any] = field(default_factory=dict)

    def as_event(self) -> dict[str, Any]:
        metadata = {**self.response.get("metadata", {})}
        if self.purpose is not Purpose.CALLER:  # a caller's own sixteen pairs leave no room
            metadata[REQUEST_KEY] = self.event_id
        response = {**self.response, "metadata": metadata} if metadata else self.response
        return {
            "type": "response.create",
            "event_id": self.event_id,
            **({"response": response} if response else {}),
        }


class Responses:
    def __init__(self) -> None:
        self.active_id: str | None = None
        self.purpose: Purpose | None = None  # of the active response
        self._begun: set[str] = set()
        self._over: set[str] = set()
        self.overtaken: dict[str, ResponseDone] = {}  # ends that came before their beginnings
        self.hidden: set[str] = set()  # the caller hears and reads nothing of these
        self.stopped: set[str] = set()  # nothing new of these, but how they end
        self.answers_for_us = ""  # the newest that answers tool outputs in place of a request of ours
        self._cancelled: str | None = None
        self._cancels: deque[int] = deque(maxlen=MAX_CANCELS)  # when
        self._asked: Request | None = None
        self._waiting: deque[Request] = deque()
        self._held = False  # the caller is speaking: what it says comes first
        self._session_up = False  # the model's session can take a request

    @property
    def full(self) -> bool:
        """Whether the caller has asked for as many responses as may wait. Our own always may."""
        return sum(request.purpose is Purpose.CALLER for request in self._waiting) >= MAX_WAITING

    def ask(self, request: Request) -> list[Request]:
        """Return the request when it may go out now; otherwise it waits. A second answer is one with the first."""
        if request.purpose is Purpose.ANSWER and any(r.purpose is Purpose.ANSWER for r in self._waiting):
            return []
        self._waiting.append(request)
        return self._next()

    def hold(self) -> None:
        """The caller began to speak: nothing new begins until it has finished."""
        self._held = True

    def release(self) -> list[Request]:
        self._held = False
        return self._next()

    def session_lost(self) -> Purpose | None:
        """The session is gone, and what ran in it. Return what that was for; an unanswered request waits again."""
        purpose = self.purpose if self.active_id is not None else None
        if self._asked is not None:
            self._waiting.appendleft(self._asked)
        self.active_id, self.purpose, self._asked = None, None, None
        self._held, self._session_up = False, False
        return purpose

    def session_up(self) -> list[Request]:
        """A session is ready for requests. Return the one whose turn it is."""
        self._session_up = True
        return self._next()

    def created(self, response_id: str, metadata: dict[str, str] | None) -> Purpose:
        """Take note of a response that began, and return what it is for."""
        asked_for = (metadata or {}).get(REQUEST_KEY)
        asked, mine = self._asked, False
        if asked is not None:
            mine = asked.event_id == asked_for or (asked.purpose is Purpose.CALLER and asked_for is None)
        self.active_id, self.purpose = response_id, asked.purpose if asked and mine else Purpose.AUTOMATIC
        self._begun.add(response_id)
        if mine:
            self._asked = None
        # Whatever begins now has the tool outputs before it: an answer that still waits would say it twice.
        if any(request.purpose is Purpose.ANSWER for request in self._waiting):
            self._waiting = deque(r for r in self._waiting if r.purpose is not Purpose.ANSWER)
            self.answers_for_us = response_id
        return self.purpose

    def stop(self, response_id: str, at: int) -> bool:
        """Let nothing new of a response out. Return whether to cancel it upstream: once, and in a storm not at all."""
        self.stopped.add(response_id)
        storm = len(self._cancels) == MAX_CANCELS and at - self._cancels[0] < CANCELS_WITHIN_MS
        if response_id == self._cancelled or storm:
            return False
        self._cancelled = response_id
        self._cancels.append(at)
        return True

    def done(self, response_id: str) -> list[Request]:
        """Take note of a response that ended, and return the request whose turn it is."""
        self._over.add(response_id)
        if response_id == self.active_id:
            self.active_id, self.purpose = None, None
        return self._next()

    def refused(self, event_id: str | None) -> bool:
        """An error names one of our requests. Return whether it was; it waits again if it still counts."""
        asked = self._asked
        if asked is None or event_id != asked.event_id:
            return False
        self._asked = None
        unheard = self.active_id is not None and self.active_id in self.hidden | self.stopped
        if asked.purpose is not Purpose.ANSWER or unheard:
            self._waiting.appendleft(asked)
        else:
            self.answers_for_us = self.active_id or ""
        return True

    def drop(self) -> None:
        """Forget what waits: the call is ending, or a guardrail speaks instead."""
        self._waiting.clear()

    def knows(self, response_id: str) -> bool:
        return response_id in self._begun

    def over(self, response_id: str) -> bool:
        return response_id in self._over

    @property
    def asked(self) -> bool:
        """Whether a response was asked for that has not begun."""
        return self._asked is not None

    @property
    def idle(self) -> bool:
        return self.active_id is None and self._asked is None and not self._waiting

    def _next(self) -> list[Request]:
        blocked = self.active_id is not None or self._asked is not None or self._held or not self._session_up
        if blocked or not self._waiting:
            return []
        self._asked = self._waiting.popleft()
        return [self._asked]
