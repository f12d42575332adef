"""Who said what, in the order in which the conversation took it up. Pure.

Order is that in which each item names the one before it, else that of `conversation.item.added`. What is known of an
item before it is taken up is kept for it: events may come in any order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sessions_app.effects import ItemSaved
from sessions_app.events import ItemBody, Part

MAX_ITEMS = 2000  # of one call; more are not kept apart
MAX_AWAITED = 64  # items of which something is known, and that are not there yet


@dataclass
class Entry:
    fact: ItemSaved
    body: ItemBody
    growing: str = ""  # the transcript as it comes in
    audio_bytes: int = 0  # generated
    done: bool = False
    broken: bool = False  # it ended before all of it was said
    previous: str | None = None  # the item before it, as the caller was told
    truncated_ms: int | None = None  # how much of it was heard, once that is settled

    def current(self) -> ItemBody:
        """Return the item with the words that are known now."""
        kinds = {("caller", "speech"): "input_audio", ("agent", "speech"): "output_audio"}
        fallback = "input_text" if self.fact.speaker == "caller" else "output_text"
        kind = kinds.get((self.fact.speaker, self.fact.source), fallback)
        words = self.fact.text or None
        part = Part(type=kind, transcript=words) if kind.endswith("audio") else Part(type=kind, text=words)
        return self.body.model_copy(update={"content": [part], "status": "completed"})


class Transcript:
    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._begun: dict[str, int] = {}  # speech that has begun and is no item yet: when
        self._ended: dict[str, int] = {}  # speech that has ended: when
        self._written: dict[str, tuple[str, str]] = {}  # our own messages: text and source
        self._known: dict[str, dict[str, object]] = {}  # what is known of items that are not there yet
        self._growing: dict[str, str] = {}  # their words as they come in
        self._positions: dict[str, int] = {}  # by upstream's ids, those of items still to come too
        self.position = 0
        self.last_shown: str | None = None
        self.newest_caller_item: str | None = None

    def speech_began(self, item_id: str, at: int) -> None:
        if item_id not in self._entries:
            self._begun[item_id] = at

    def speech_ended(self, item_id: str, at: int) -> None:
        self.newest_caller_item = item_id
        if item_id not in self._entries:
            self._begun.setdefault(item_id, at)
            self._ended[item_id] = at

    def began_at(self, item_id: str) -> int | None:
        return self._begun.get(item_id)

    @property
    def full(self) -> bool:
        """Whether it holds as many items as it may, those counted that are on their way."""
        return len(self._entries) + len(self._written) >= MAX_ITEMS

    def taken(self, item_id: str) -> bool:
        """Whether an item of this id is there, or on its way."""
        return item_id in self._entries or item_id in self._written

    def lost(self, item_id: str, at: int) -> ItemSaved | None:
        """The model refused a message of the caller's: it was said all the same, and is kept."""
        written = self._written.get(item_id)
        if written is None or item_id in self._entries:
            return None
        return self.add(written_item(item_id, written[0]), at=at)

    def will_add(self, item_id: str, text: str, source: str, at: int) -> None:
        """We are about to send this message to the model in the caller's name."""
        self._written[item_id] = (text, source)
        self._begun[item_id] = at
        self.newest_caller_item = item_id

    def add(
        self, body: ItemBody, *, at: int, response_id: str = "", previous_id: str | None = None
    ) -> ItemSaved | None:
        """Take an item up in its order. None for what is no talk, and for what has been taken up before."""
        if body.id in self._entries or len(self._entries) >= MAX_ITEMS:
            self._forget(body.id)
            return None
        position = self._place(body.id, previous_id)
        if body.type != "message" or body.role not in ("user", "assistant"):
            return None
        spoken = body.role == "user" and any(part.type == "input_audio" for part in body.content)
        text, source = self._written.get(body.id, (body.words, "speech" if spoken or body.role != "user" else "text"))
        # The end may be reckoned before the beginning: the service tells positions in sound, or leaves them out.
        started_ms = self._begun.get(body.id, at)
        ended_ms = max(started_ms, self._ended[body.id]) if body.id in self._ended else None
        fact = ItemSaved(
            item_id=body.id,
            position=position,
            speaker="caller" if body.role == "user" else "agent",
            source=source,
            text=text,
            transcript_state="pending" if spoken and not text else "done",
            started_ms=started_ms,
            ended_ms=ended_ms,
            audio_ms=ended_ms - started_ms if ended_ms is not None else 0,
            response_id=response_id,
        )
        fact = replace(fact, **self._known.pop(body.id, {}))  # type: ignore[arg-type]  # as in change
        growing = self._growing.pop(body.id, "")
        self._entries[body.id] = Entry(fact, body, growing, previous=self.last_shown, truncated_ms=fact.heard_ms)
        self.last_shown = body.id
        self._forget(body.id)
        if fact.speaker == "caller":
            self.newest_caller_item = body.id
        return fact

    def _place(self, item_id: str, previous_id: str | None) -> int:
        """Return an item's position: after the one before it, for which a position is kept when it is still to come."""
        for one in (*([previous_id] if previous_id else []), item_id):
            if one not in self._positions:
                self.position += 1
                self._positions[one] = self.position
        return self._positions[item_id]

    def _forget(self, item_id: str) -> None:
        """What was known of an item before it was taken up stands in it now."""
        for awaited in (self._begun, self._ended, self._written):
            awaited.pop(item_id, None)

    def add_fixed(self, item_id: str, text: str, *, started_ms: int, audio_ms: int, response_id: str) -> ItemSaved:
        """Take up a line that no model spoke."""
        self.position += 1
        body = ItemBody(id=item_id, role="assistant", content=[Part(type="output_text", text=text)])
        fact = ItemSaved(
            item_id=item_id,
            position=self.position,
            speaker="agent",
            source="fixed",
            text=text,
            transcript_state="done",
            started_ms=started_ms,
            ended_ms=started_ms + audio_ms,
            audio_ms=audio_ms,
            response_id=response_id,
        )
        self._entries[item_id] = Entry(fact, body)
        return fact

    def get(self, item_id: str) -> Entry | None:
        return self._entries.get(item_id)

    def change(self, item_id: str, **changes: object) -> list[ItemSaved]:
        """Return the item's new fact, or nothing when the change is none. One that is not there yet will have it."""
        entry = self._entries.get(item_id)
        if entry is None:
            self._known.setdefault(item_id, {}).update(changes)
            _bound(self._known)
            return []
        fact = replace(entry.fact, **changes)  # type: ignore[arg-type]  # the names are ItemSaved's
        if fact == entry.fact:
            return []
        entry.fact = fact
        return [fact]

    def grow(self, item_id: str, delta: str) -> str:
        """Add to a transcript that is coming in, and return it as far as it has come."""
        entry = self._entries.get(item_id)
        if entry is not None:
            entry.growing += delta
            return entry.growing
        grown = self._growing[item_id] = self._growing.get(item_id, "") + delta
        _bound(self._growing)
        return grown

    def fail(self, item_id: str) -> list[ItemSaved]:
        """No more words of this item will come: those that had come are all there is of it."""
        entry = self._entries.get(item_id)
        words = entry.fact.text or entry.growing if entry is not None else self._growing.get(item_id, "")
        return self.change(item_id, text=words.strip(), transcript_state="failed")

    def restore(self, facts: tuple[ItemSaved, ...]) -> None:
        """Take up what another process has recorded, in its order."""
        for fact in facts:
            role, kind = ("user", "input_text") if fact.speaker == "caller" else ("assistant", "output_text")
            body = ItemBody(id=fact.item_id, role=role, content=[Part(type=kind, text=fact.text)], status="completed")
            entry = Entry(fact, body, done=True, previous=self.last_shown, truncated_ms=fact.heard_ms)
            self._entries[fact.item_id], self.last_shown = entry, fact.item_id
            self._positions[fact.item_id] = fact.position
            self.position = max(self.position, fact.position)
            if fact.speaker == "caller":
                self.newest_caller_item = fact.item_id

    def entries(self) -> list[Entry]:
        """Return the items, in order."""
        return list(self._entries.values())

    def facts(self) -> list[ItemSaved]:
        """Return what was said, in order."""
        return [entry.fact for entry in self._entries.values()]

    def unborn(self) -> list[tuple[str, str | None]]:
        """Return the caller's items that are on their way, with their words when they were written."""
        return [(item_id, self._written[item_id][0] if item_id in self._written else None) for item_id in self._begun]

    def of_response(self, response_id: str) -> list[Entry]:
        return [entry for entry in self._entries.values() if entry.fact.response_id == response_id]

    def unfinished(self, response_id: str) -> list[Entry]:
        """Return the items of a response that have not been told to be done."""
        entries = self._entries.values()
        return [entry for entry in entries if entry.fact.response_id == response_id and not entry.done]

    def pending(self) -> list[str]:
        """Return the caller's items that are on their way, or whose words are."""
        untold = [item_id for item_id, entry in self._entries.items() if entry.fact.transcript_state == "pending"]
        return [*self._begun, *untold]


def written_item(item_id: str, text: str) -> ItemBody:
    """Return what the caller wrote as the item that the service makes of it."""
    return ItemBody(id=item_id, role="user", content=[Part(type="input_text", text=text)])


def _bound(awaited: dict[str, Any]) -> None:
    """Forget the oldest of too many."""
    if len(awaited) > MAX_AWAITED:
        awaited.pop(next(iter(awaited)))


def heard_chars(text: str, *, heard_ms: int, audio_ms: int) -> int:
    """Return where in `text` the part ends that was heard: in proportion, back to a whole word.

    The service tells no time for single words; the sentence as a whole is what a reader needs.
    """
    if heard_ms <= 0:
        return 0
    if heard_ms >= audio_ms:
        return len(text)
    space = text.rfind(" ", 0, int(len(text) * heard_ms / audio_ms) + 1)
    return max(space, 0)
