"""The upstream session's life as a call knows it: where it stands, how often it was lost, and when to give up. Pure.

A session of the Realtime API cannot be resumed: each connection is a new one, told anew of what was said.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

MAX_LOSSES = 5  # sessions lost in one call; the next one ends it
QUICK_DEATH_MS = 5000  # a session that is lost this soon did not live
MAX_QUICK_DEATHS = 3  # one after the other
BACKOFF_MS = 400  # the first wait is at most this, each next at most twice the last
MAX_BACKOFF_MS = 4000
MAX_CONNECT_MS = 15_000  # from the loss, or the beginning, until the model has taken its configuration

# The service cuts a session after 60 minutes, without a warning.
ROLLOVER_MS = 50 * 60_000  # from here on a quiet moment will do
LATEST_ROLLOVER_MS = 57 * 60_000
LOOK_AGAIN_MS = 1000

ANSWER_WAIT_MS = 8000  # for a response to begin that the service owes
STALL_MS = 20_000  # without any event while a response is being made
MAX_MALFORMED = 20  # frames in a minute that could not be read
MALFORMED_WINDOW_MS = 60_000


class LinkState(IntEnum):
    DOWN = 0
    OPENING = 1  # the shell connects
    CONFIGURING = 2  # connected; our session.update is not acknowledged
    SEEDING = 3  # the conversation so far is being told
    READY = 4


@dataclass
class Link:
    state: LinkState = LinkState.DOWN
    connected: bool = False  # the shell has a connection
    down_since: int = 0
    connected_at: int = 0
    renew_at: int = 0  # when it is to be seen next whether the moment is quiet enough for a new session
    sessions: int = 0  # that have become ready
    losses: int = 0
    quick_deaths: int = 0
    heard_at: int = 0  # the last event of the model's
    owed_since: int | None = None  # a response is owed that has not begun
    ahead: bool = False  # a response began for which no turn was committed: the turn is still on its way
    plain: bool = False  # the service refuses the hints of the transcription: sessions go without
    last_seed: str = ""  # the seeding is over when this item is taken up, or refused
    malformed: int = 0
    malformed_since: int = 0

    @property
    def open(self) -> bool:
        """Whether the session takes items and settings."""
        return self.state >= LinkState.SEEDING

    @property
    def ready(self) -> bool:
        """Whether the session takes sound and requests."""
        return self.state is LinkState.READY

    def opening(self, at: int) -> None:
        if self.state is not LinkState.OPENING:
            self.down_since = at
        self.state, self.connected, self.owed_since, self.malformed = LinkState.OPENING, False, None, 0

    def became_ready(self, at: int) -> None:
        self.state, self.heard_at = LinkState.READY, at
        self.sessions += 1

    def left(self) -> None:
        """The connection was let go, or nobody needs another at present."""
        self.state, self.connected, self.owed_since = LinkState.DOWN, False, None

    def lost(self, at: int) -> bool:
        """Count the loss of a connection that stood. Return whether another one is worth trying."""
        self.losses += 1
        lived = self.state is LinkState.READY and at - self.connected_at >= QUICK_DEATH_MS
        self.quick_deaths = 0 if lived else self.quick_deaths + 1
        self.state, self.connected, self.owed_since = LinkState.DOWN, False, None
        return self.losses <= MAX_LOSSES and self.quick_deaths < MAX_QUICK_DEATHS

    @property
    def backoff_ms(self) -> int:
        """Return the longest wait before the next try; the shell waits a random part of it."""
        return min(BACKOFF_MS << self.quick_deaths, MAX_BACKOFF_MS)

    def unreadable(self, at: int) -> bool:
        """Count a frame that could not be read. Return whether there were too many of late."""
        if at - self.malformed_since > MALFORMED_WINDOW_MS:
            self.malformed, self.malformed_since = 0, at
        self.malformed += 1
        return self.malformed >= MAX_MALFORMED

    def watch_until(self, *, response_active: bool) -> int | None:
        """Return when this session must be taken for dead, if nothing is heard of it."""
        times = []
        if self.state in (LinkState.OPENING, LinkState.CONFIGURING, LinkState.SEEDING):
            times.append(self.down_since + MAX_CONNECT_MS)
        if self.ready and self.owed_since is not None:
            times.append(self.owed_since + ANSWER_WAIT_MS)
        if self.ready and response_active:
            times.append(self.heard_at + STALL_MS)
        return min(times, default=None)
