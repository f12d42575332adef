"""Order and pace of what goes to the caller.

Pure. The model speaks faster than anybody listens: sound goes out at most `MAX_AHEAD_MS` before it is due, the events
of a response that follow it wait behind it, and an interruption drops the sound and lets the events go. Knows, per
item, how much was sent and how much of that must have been heard. Time is in whole milliseconds of the call.

A caller that can come back is paused while it is away: what it has not heard waits at the front, as if it had never
gone out, and goes out when it is back.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from sessions_app.effects import ToCaller
from sessions_app.unheard import AUDIO_DONE, Kept, Unheard, after

MAX_AHEAD_MS = 5000


@dataclass
class Track:
    """One item's sound as it went out."""

    response_id: str
    starts_at: int  # when its first sound is due
    ends_at: int  # when its last sound will have been heard, as far as sent
    sent_ms: float = 0.0
    reported_ms: int | None = None  # what the caller's page says it has played


class Outbox:
    def __init__(self, *, bytes_per_ms: int, max_ahead_ms: int = MAX_AHEAD_MS, keeps: bool = False) -> None:
        """`keeps`: the caller can come back, and its page reports what it has played."""
        self._unheard = Unheard(bytes_per_ms=bytes_per_ms) if keeps else None
        self._paused = False
        self._bytes_per_ms = bytes_per_ms
        self._max_ahead_ms = max_ahead_ms
        self._held: deque[ToCaller] = deque()
        self._tracks: dict[str, Track] = {}
        self._cut: set[str] = set()  # responses whose sound no longer goes out
        self._ends_at = 0

    def push(self, effect: ToCaller, now: int, *, in_order: bool) -> list[ToCaller]:
        """Return what may go out now. `in_order`: the effect belongs to a response and keeps its place in it."""
        if not in_order:
            return [effect]
        if effect.pcm and effect.event.get("response_id") in self._cut:
            return []
        self._held.append(effect)
        return self.due(now)

    def due(self, now: int) -> list[ToCaller]:
        """Return what has become due."""
        out: list[ToCaller] = []
        while self._held and not self._paused:
            effect = self._held[0]
            if effect.pcm and self._ends_at - now >= self._max_ahead_ms:
                break
            self._held.popleft()
            if effect.pcm:
                self._account(effect, now)
            elif self._unheard is not None and effect.event.get("type") == AUDIO_DONE:
                self._unheard.sent(effect, starts_ms=self.sent_ms(str(effect.event.get("item_id"))))
            out.append(effect)
        return out

    def next_due(self) -> int | None:
        """Return when `due` should be asked again, or None while nothing is held."""
        return self._ends_at - self._max_ahead_ms + 1 if self._held and not self._paused else None

    def pause(self, now: int) -> dict[str, int]:
        """The caller is gone, and may come back: nothing goes out, and what it has not heard has not gone out.

        Return the items that had gone further, each with the milliseconds that were heard of it.
        """
        if self._unheard is None or self._paused:
            return {}
        self._paused = True
        back = self._unheard.take_back()
        for kept in reversed(back):  # the first part of an item comes last, and says where the item goes on
            track = self._tracks.get(kept.item_id)
            if track is not None and kept.pcm:
                track.sent_ms, track.ends_at = kept.starts_ms, min(track.ends_at, now)
        self._held.extendleft(kept.as_effect() for kept in reversed(back))
        self._ends_at = min(self._ends_at, now)
        return {kept.item_id: self.sent_ms(kept.item_id) for kept in back if kept.pcm}

    def begun(self) -> dict[str, int]:
        """Return the items of which more is to come, and how much of each has gone out, in milliseconds."""
        some = (effect.item_id for effect in self._held if effect.pcm and effect.item_id in self._tracks)
        return {item_id: self.sent_ms(item_id) for item_id in some}

    def resume(self, now: int) -> list[ToCaller]:
        """The caller is back, and has said what it had played: return what may go out now."""
        self._paused = False
        return self.due(now)

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def held_sound_bytes(self) -> int:
        return sum(len(effect.pcm) for effect in self._held)

    def interrupt(self, now: int) -> tuple[list[ToCaller], list[str]]:
        """Drop the sound that is held; return the events that it held back, and the items that were playing."""
        released = [effect for effect in self._held if not effect.pcm]
        self._cut |= {str(effect.event.get("response_id")) for effect in self._held if effect.pcm}
        unheard = {effect.item_id for effect in self._held if effect.pcm}
        for effect in self._held:
            if effect.pcm:  # perhaps none of its item has gone out yet
                self._tracks.setdefault(effect.item_id, Track(str(effect.event.get("response_id")), now, now))
        self._held.clear()
        if self._unheard is not None:
            self._unheard.take_back()
        playing = [item_id for item_id, track in self._tracks.items() if track.ends_at > now or item_id in unheard]
        for item_id in playing:
            track = self._tracks[item_id]
            self._cut.add(track.response_id)
            # What it had sounded until now stays heard; nothing of it sounds later.
            track.reported_ms, track.ends_at = self.heard_ms(item_id, now), min(track.ends_at, now)
        self._ends_at = min(self._ends_at, now)
        return released, playing

    def silence(self, response_id: str) -> None:
        """Let no more sound of this response out."""
        self._cut.add(response_id)

    def report(self, item_id: str, played_ms: int) -> None:
        """The caller's page says how much it has played of an item."""
        track = self._tracks.get(item_id)
        if track is None:
            return
        track.reported_ms = played_ms
        if self._unheard is not None:
            self._unheard.heard(item_id, played_ms)
        if self._paused:
            self._skip(item_id, played_ms)

    def _skip(self, item_id: str, played_ms: int) -> None:
        """The caller had played more than was known when it went: that much does not go out again."""
        places = [place for place, effect in enumerate(self._held) if effect.pcm and effect.item_id == item_id]
        if not places or played_ms <= self._tracks[item_id].sent_ms:
            return
        before = [self._held.popleft() for _ in range(places[0])]  # it played these first
        for effect in before:
            if effect.pcm:
                self._tracks[effect.item_id].sent_ms += len(effect.pcm) / self._bytes_per_ms
        self._skip_first(self._tracks[item_id], played_ms)
        self._held.extendleft(effect for effect in reversed(before) if not effect.pcm)

    def _skip_first(self, track: Track, played_ms: int) -> None:
        """Let the item whose sound is the first that is held go on at `played_ms`."""
        item_id = self._held[0].item_id
        while self._held and self._held[0].item_id == item_id and track.sent_ms < played_ms:
            effect = self._held.popleft()
            ends_ms = track.sent_ms + len(effect.pcm) / self._bytes_per_ms
            part = Kept(effect.event, item_id, effect.pcm, track.sent_ms, ends_ms)
            if ends_ms > played_ms:
                part = after(part, played_ms, bytes_per_ms=self._bytes_per_ms)
                self._held.appendleft(part.as_effect())
                ends_ms = part.starts_ms
            track.sent_ms = ends_ms
            if ends_ms == part.starts_ms:
                return

    def heard_ms(self, item_id: str, now: int) -> int:
        """Return how much of an item has been heard: by report, else by the clock; never more than was sent."""
        track = self._tracks.get(item_id)
        if track is None:
            return 0
        by_clock = track.sent_ms - max(0, track.ends_at - now)
        heard = track.reported_ms if track.reported_ms is not None else by_clock
        return int(max(0, min(heard, track.sent_ms)))

    def reported(self, item_id: str) -> int | None:
        """Return how much of an item the caller's page says it has played, or None when it has said nothing."""
        track = self._tracks.get(item_id)
        return track.reported_ms if track else None

    def sent_ms(self, item_id: str) -> int:
        track = self._tracks.get(item_id)
        return int(track.sent_ms) if track else 0

    def reach_ms(self, item_id: str) -> int:
        """Return how much of an item has gone out, or is held and will."""
        held = sum(len(effect.pcm) for effect in self._held if effect.item_id == item_id)
        return self.sent_ms(item_id) + held // self._bytes_per_ms

    def starts_at(self, item_id: str) -> int | None:
        """Return when the item's first sound was due, or None while none has gone out."""
        track = self._tracks.get(item_id)
        return track.starts_at if track else None

    def ends_at(self, item_id: str) -> int | None:
        """Return when all that was sent of the item will have been heard, or None while sound of it is held."""
        if any(effect.item_id == item_id for effect in self._held):
            return None
        track = self._tracks.get(item_id)
        return track.ends_at if track else 0

    def quiet_at(self) -> int | None:
        """Return when everything will have been heard, or None while something is held."""
        return None if self._held else self._ends_at

    def _account(self, effect: ToCaller, now: int) -> None:
        length_ms = len(effect.pcm) / self._bytes_per_ms
        begins = max(self._ends_at, now)
        self._ends_at = round(begins + length_ms)
        track = self._tracks.get(effect.item_id)
        if track is None:
            track = Track(str(effect.event.get("response_id")), starts_at=begins, ends_at=begins)
            self._tracks[effect.item_id] = track
        if self._unheard is not None:
            self._unheard.sent(effect, starts_ms=track.sent_ms)
        track.sent_ms += length_ms
        track.ends_at = self._ends_at
