"""The conversation: its items in order, what a client may add, cut or remove, and what a model would see. Pure."""

from dataclasses import dataclass

from sessions_app.standin.wire import Json, Refusal, invalid_value, missing_parameter, new_id, unknown_parameter

MAX_TEXT = 256_000
MAX_ID = 32
ROOT = "root"
TEXT_PART = {"system": "input_text", "user": "input_text", "assistant": "output_text"}
ITEM_FIELDS = {
    "message": {"id", "type", "object", "status", "role", "content", "phase"},
    "function_call": {"id", "type", "object", "status", "name", "call_id", "arguments"},
    "function_call_output": {"id", "type", "object", "status", "call_id", "output"},
}


@dataclass
class Item:
    """One item: its wire form, and what the service knows beside it."""

    wire: Json
    audio_ms: float = 0
    """How much sound it holds: said by the caller, or generated for the assistant."""
    audio: str = ""
    """The sound itself, base64; kept for what a caller said, shown by retrieve alone."""
    heard: str | None = ""
    """What the recogniser made of the caller's sound; None until it has answered."""
    deaf: bool = False
    """Nothing here could hear the caller's sound."""
    cut: bool = False

    @property
    def id(self) -> str:
        return str(self.wire["id"])

    @property
    def text(self) -> str:
        """Return the words of a message, typed, heard or said."""
        words = [part.get("text") or part.get("transcript") or "" for part in self.wire.get("content", ())]
        return " ".join(word for word in words if word) or self.heard or ""


class Conversation:
    """The default conversation of one session."""

    def __init__(self) -> None:
        self.id = new_id("conv")
        self.items: list[Item] = []

    def find(self, item_id: str) -> Item | None:
        return next((item for item in self.items if item.id == item_id), None)

    def last_id(self) -> str | None:
        return self.items[-1].id if self.items else None

    def add(self, item: Item, after: str | None = None) -> str | None:
        """Put `item` last, or after the item named (`root`: first); return the id of the one before it."""
        place = len(self.items)
        if after == ROOT:
            place = 0
        elif after is not None:
            place = next((n + 1 for n, other in enumerate(self.items) if other.id == after), -1)
            if place < 0:
                raise Refusal(
                    "item_create_invalid_previous_item_id",
                    f"Error adding item: the previous item with id '{after}' does not exist.",
                    param="previous_item_id",
                )
        self.items.insert(place, item)
        return self.items[place - 1].id if place else None

    def create(self, wire: object, after: str | None) -> tuple[Item, str | None]:
        """Check an item from a client and add it; return it and the id of the one before. Raises Refusal."""
        item = self._checked(wire)
        return item, self.add(item, after)

    def delete(self, item_id: str) -> None:
        self.items.remove(self._known(item_id, "delete"))

    def retrieve(self, item_id: str) -> Json:
        """Return the server's own copy, the caller's sound included."""
        item = self._known(item_id, "retrieve")
        if not item.audio:
            return item.wire
        return {**item.wire, "content": [{**part, "audio": item.audio} for part in item.wire["content"]]}

    def truncate(self, item_id: str, content_index: object, audio_end_ms: object) -> None:
        """Cut an assistant's sound at what was heard; its transcript leaves the context. Raises Refusal."""
        item = self._known(item_id, "truncate")
        if item.wire["type"] != "message" or item.wire["role"] != "assistant":
            raise invalid_value("item_id", "Only assistant messages can be truncated.")
        if content_index != 0 or isinstance(content_index, bool):
            raise invalid_value("content_index", "Expected content_index 0.")
        if isinstance(audio_end_ms, bool) or not isinstance(audio_end_ms, int) or audio_end_ms < 0:
            raise invalid_value("audio_end_ms", "Expected audio_end_ms to be a whole number of milliseconds.")
        if not item.audio_ms:
            raise invalid_value("audio_end_ms", "The item has no audio yet.")
        if audio_end_ms > item.audio_ms:
            raise invalid_value(
                "audio_end_ms",
                f"Audio content of {int(item.audio_ms)}ms is already shorter than {audio_end_ms}ms",
            )
        item.audio_ms, item.cut = audio_end_ms, True
        item.wire["content"] = [{"type": "output_audio", "transcript": None}]

    def has_assistant_audio(self) -> bool:
        return any(item.audio_ms and item.wire.get("role") == "assistant" for item in self.items)

    def _known(self, item_id: str, action: str) -> Item:
        item = self.find(item_id)
        if item is None:
            raise Refusal(
                f"item_{action}_invalid_item_id",
                f"Error processing event: item with item_id '{item_id}' does not exist.",
                param="item_id",
            )
        return item

    def _checked(self, wire: object) -> Item:
        if not isinstance(wire, dict):
            raise missing_parameter("item")
        kind = wire.get("type")
        if kind not in ITEM_FIELDS:
            raise invalid_value("item.type", f"Invalid value: '{kind}'. Supported values are: {sorted(ITEM_FIELDS)}.")
        for key in wire:
            if key not in ITEM_FIELDS[kind]:
                raise unknown_parameter(f"item.{key}")
        item_id = wire.get("id") or new_id("item")
        _short_text(item_id, "item.id", MAX_ID)
        if self.find(item_id):
            raise invalid_value("item.id", f"An item with id '{item_id}' already exists.")
        checked = {"id": item_id, **{k: v for k, v in wire.items() if k not in ("id", "object")}, "status": "completed"}
        if kind == "message":
            return Item(checked | {"content": _checked_content(wire)})
        _short_text(wire.get("call_id"), "item.call_id", MAX_ID)
        if kind == "function_call":
            _short_text(wire.get("name"), "item.name", MAX_TEXT)
            _short_text(wire.get("arguments"), "item.arguments", MAX_TEXT)
        else:
            _short_text(wire.get("output"), "item.output", MAX_TEXT, empty=True)
            self._expect_call(wire["call_id"])
        return Item(checked)

    def _expect_call(self, call_id: str) -> None:
        calls = (item.wire for item in self.items if item.wire["type"] == "function_call")
        if not any(wire["call_id"] == call_id for wire in calls):
            raise Refusal(
                "invalid_tool_call_id", f"Tool call ID '{call_id}' not found in conversation.", param="item.call_id"
            )


def _short_text(value: object, path: str, limit: int, *, empty: bool = False) -> None:
    if value is None or (value == "" and not empty):
        raise missing_parameter(path)
    if not isinstance(value, str):
        raise Refusal("invalid_type", f"Invalid type for '{path}': expected a string.", param=path)
    if len(value) > limit:
        raise Refusal(
            "string_above_max_length",
            f"Invalid '{path}': string too long. Expected a string with maximum length {limit}, "
            f"but got a string with length {len(value)} instead.",
            param=path,
        )


def _checked_content(wire: Json) -> list[Json]:
    role, content = wire.get("role"), wire.get("content")
    if role not in TEXT_PART:
        raise invalid_value("item.role", f"Invalid value: '{role}'. Supported values are: {sorted(TEXT_PART)}.")
    if not isinstance(content, list) or not content:
        raise missing_parameter("item.content")
    return [_checked_part(part, role, f"item.content[{index}]") for index, part in enumerate(content)]


def _checked_part(part: object, role: str, path: str) -> Json:
    if not isinstance(part, dict):
        raise invalid_value(path, "Expected an object.")
    kind = part.get("type")
    if role == "assistant" and kind == "output_audio":
        # Recorded: assistant sound cannot be put back, only its words.
        raise missing_parameter(f"{path}.text")
    if kind == TEXT_PART[role]:
        _short_text(part.get("text"), f"{path}.text", MAX_TEXT, empty=True)
        return {"type": kind, "text": part["text"]}
    if role == "user" and kind == "input_audio":
        return {"type": kind, "transcript": part.get("transcript")}
    if role == "user" and kind == "input_image":
        return {"type": kind, "detail": part.get("detail", "auto")}
    raise invalid_value(f"{path}.type", f"Invalid value: '{kind}'. Supported values are: '{TEXT_PART[role]}'.")
