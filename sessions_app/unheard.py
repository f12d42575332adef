"""Sound that went out and has not been heard: kept, so that a caller who comes back hears on from where it was.

Pure. Bounded by bytes: what is older than that is given up. Positions are milliseconds within an item.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Any

from sessions_app.effects import ToCaller
from sessions_app.events import encode_audio

MAX_KEPT_BYTES = 1024 * 1024  # 21 s of PCM: five seconds ahead, and what a lost connection takes to be noticed
AUDIO_DONE = "response.output_audio.done"


@dataclass(slots=True)
class Kept:
    """One part of an item's sound, or the event that ends it; its event is kept without the sound in it."""

    event: dict[str, Any]
    item_id: str
    pcm: bytes
    starts_ms: float
    ends_ms: float

    def as_effect(self) -> ToCaller:
        event = {**self.event, "delta": encode_audio(self.pcm)} if self.pcm else self.event
        return ToCaller(event, item_id=self.item_id, pcm=self.pcm)


class Unheard:
    def __init__(self, *, bytes_per_ms: int, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self._bytes_per_ms = bytes_per_ms
        self._max_bytes = max_bytes
        self._kept: deque[Kept] = deque()
        self._bytes = 0

    def sent(self, effect: ToCaller, *, starts_ms: float) -> None:
        """Keep an effect that went out: sound that begins at `starts_ms` of its item, or what ends an item's sound."""
        item_id = effect.item_id or str(effect.event.get("item_id", ""))
        event = {**effect.event, "delta": ""} if effect.pcm else effect.event
        length = len(effect.pcm) / self._bytes_per_ms
        self._kept.append(Kept(event, item_id, effect.pcm, starts_ms, starts_ms + length))
        self._bytes += len(effect.pcm)
        while self._bytes > self._max_bytes:
            self._bytes -= len(self._kept.popleft().pcm)

    def heard(self, item_id: str, heard_ms: float) -> None:
        """Forget what has been heard of an item, and all that went out before that.

        That a sound has ended is kept until more is heard: who has heard it to its end may not have been told so.
        """
        places = [n for n, kept in enumerate(self._kept) if kept.item_id == item_id and kept.starts_ms <= heard_ms]
        sounds = [n for n in places if self._kept[n].pcm]
        if not sounds:
            return
        for _ in range(sounds[-1]):
            self._drop_first()
        self._trim_first(heard_ms)

    def take_back(self) -> list[Kept]:
        """Return what is kept, in its order, and keep nothing."""
        kept, self._bytes = list(self._kept), 0
        self._kept.clear()
        return kept

    def _drop_first(self) -> None:
        self._bytes -= len(self._kept.popleft().pcm)

    def _trim_first(self, heard_ms: float) -> None:
        first = self._kept[0]
        if heard_ms >= first.ends_ms:
            self._drop_first()
            return
        rest = after(first, heard_ms, bytes_per_ms=self._bytes_per_ms)
        self._bytes -= len(first.pcm) - len(rest.pcm)
        self._kept[0] = rest


def after(kept: Kept, heard_ms: float, *, bytes_per_ms: int) -> Kept:
    """Return the part of `kept` that lies after `heard_ms` of its item, cut at a whole millisecond."""
    skipped = int(max(0.0, heard_ms - kept.starts_ms))
    return replace(kept, pcm=kept.pcm[skipped * bytes_per_ms :], starts_ms=kept.starts_ms + skipped)
