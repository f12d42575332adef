"""What the caller has been told so far: what it is told again when it comes back, and no more than that. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MAX_CARDS = 20


@dataclass
class ToldItem:
    text: str = ""  # the words of a reply as far as they went out; empty again when it is done
    done: bool = False


class Told:
    def __init__(self) -> None:
        self.items: dict[str, ToldItem] = {}
        self.responses: dict[str, None] = {}  # begun for the caller, and not over; in order
        self.cards: list[tuple[int, dict[str, Any]]] = []  # with the position of the item that each follows

    def note(self, event: dict[str, Any]) -> None:
        """Take note of an event that goes out to the caller."""
        take = _NOTES.get(event["type"])
        if take is not None:
            take(self, event)

    def card(self, position: int, event: dict[str, Any]) -> None:
        self.cards = [*self.cards, (position, event)][-MAX_CARDS:]

    def _item(self, event: dict[str, Any]) -> None:
        self.items.setdefault(event["item"]["id"], ToldItem())

    def _item_done(self, event: dict[str, Any]) -> None:
        self.items[event["item"]["id"]] = ToldItem(done=True)

    def _words(self, event: dict[str, Any]) -> None:
        item = self.items.get(event["item_id"])
        if item is not None and not item.done:
            item.text += event["delta"]

    def _response(self, event: dict[str, Any]) -> None:
        self.responses[event["response"]["id"]] = None

    def _response_done(self, event: dict[str, Any]) -> None:
        self.responses.pop(event["response"]["id"], None)


_NOTES: dict[str, Callable[[Told, dict[str, Any]], None]] = {
    "conversation.item.added": Told._item,
    "conversation.item.done": Told._item_done,
    "response.output_audio_transcript.delta": Told._words,
    "response.output_text.delta": Told._words,
    "response.created": Told._response,
    "response.done": Told._response_done,
}
