"""The caller's sound: the input buffer, its turns, and what silence brings about."""

import asyncio
import base64
import binascii
from collections.abc import Callable

from sessions_app.standin.conversation import Conversation, Item
from sessions_app.standin.formats import PCM_BYTES_A_MS, Decoder, encode, is_pcm
from sessions_app.standin.leg import Emit
from sessions_app.standin.vad import FRAME_BYTES, Detector
from sessions_app.standin.wire import Json, Refusal, invalid_value, new_id

MAX_AUDIO_BYTES = 15 * 1024 * 1024
MIN_COMMIT_MS = 100
IDLE_WORDS = 'Nobody has spoken for a while. Ask: "Are you still there?"'


class Turns:
    """One session's input buffer, and the events that tell of it."""

    def __init__(self, emit: Emit, conversation: Conversation, session: Json) -> None:
        self._emit = emit
        self._conversation = conversation
        self._format: Json = {}
        self._turn_detection: Json | None = None
        self._detector: Detector | None = None
        self._buffer = bytearray()
        self._rest = bytearray()
        self._bytes = 0
        self._item_id = new_id("item")
        self._decoder: Decoder
        self.configure(session)

    @property
    def turn_detection(self) -> Json | None:
        return self._turn_detection

    def configure(self, session: Json) -> None:
        """Take over what an update changed; a turn under way ends with other settings."""
        audio_input = session["audio"]["input"]
        if audio_input["format"] != self._format:
            self._format = audio_input["format"]
            self._decoder = Decoder(self._format)
        if audio_input["turn_detection"] != self._turn_detection or self._detector is None:
            self._turn_detection = audio_input["turn_detection"]
            self._detector = Detector(self._turn_detection) if self._turn_detection else None

    def append(self, audio: object) -> None:
        """Take sound; `next_notice` then tells what is in it. Raises Refusal."""
        pcm = self._decoder.decode(_decoded(audio, whole_samples=is_pcm(self._format)))
        self._bytes += len(pcm)
        waiting = self._buffer if self._detector is None else self._rest
        waiting += pcm

    def next_notice(self) -> str | None:
        """Look at the sound that waits, up to the next start or stop of speech."""
        while self._detector and len(self._rest) >= FRAME_BYTES:
            frame = bytes(self._rest[:FRAME_BYTES])
            del self._rest[:FRAME_BYTES]
            speaking = self._detector.speaking
            notice = self._detector.step(frame)
            if speaking:
                self._buffer += frame
            if notice == "started":
                self._buffer[:] = self._detector.take_beginning()
                start_ms = self._seen_ms() - len(self._buffer) / PCM_BYTES_A_MS
                self._emit(
                    "input_audio_buffer.speech_started", audio_start_ms=max(0, round(start_ms)), item_id=self._item_id
                )
            if notice == "stopped":
                self._emit(
                    "input_audio_buffer.speech_stopped", audio_end_ms=round(self._seen_ms()), item_id=self._item_id
                )
            if notice:
                return notice
        return None

    def commit(self) -> tuple[Item, bytes]:
        """Make the buffer a user item. Raises Refusal when it holds less than 100 ms."""
        have_ms = len(self._buffer) / PCM_BYTES_A_MS
        if have_ms < MIN_COMMIT_MS:
            raise Refusal(
                "input_audio_buffer_commit_empty",
                f"Error committing input audio buffer: buffer too small. Expected at least {MIN_COMMIT_MS}ms of audio, "
                f"but buffer only has {have_ms:.2f}ms of audio.",
            )
        return self._commit()

    def clear(self) -> None:
        self._buffer.clear()
        self._rest.clear()
        if self._turn_detection:
            self._detector = Detector(self._turn_detection)

    def time_out(self, idle_timeout_ms: int) -> tuple[Item, bytes]:
        """Commit an empty turn because nobody spoke; the service puts its own system message before it."""
        end_ms = round(self._bytes / PCM_BYTES_A_MS)
        self._emit(
            "input_audio_buffer.timeout_triggered",
            audio_start_ms=max(0, end_ms - idle_timeout_ms),
            audio_end_ms=end_ms,
            item_id=self._item_id,
        )
        content = [{"type": "input_text", "text": IDLE_WORDS}]
        system = Item(
            {"id": new_id("item"), "type": "message", "status": "completed", "role": "system", "content": content}
        )
        announce(self._emit, system, self._conversation.add(system))
        self._buffer.clear()
        return self._commit()

    def _commit(self) -> tuple[Item, bytes]:
        pcm = bytes(self._buffer)
        self._buffer.clear()
        content = [{"type": "input_audio", "transcript": None}]
        item = Item(
            {"id": self._item_id, "type": "message", "status": "completed", "role": "user", "content": content},
            audio_ms=len(pcm) / PCM_BYTES_A_MS,
            audio=base64.b64encode(encode(pcm, self._format)).decode(),
            heard=None,
        )
        self._item_id = new_id("item")
        self._emit("input_audio_buffer.committed", item_id=item.id, previous_item_id=self._conversation.last_id())
        announce(self._emit, item, self._conversation.add(item))
        return item, pcm

    def _seen_ms(self) -> float:
        return (self._bytes - len(self._rest)) / PCM_BYTES_A_MS


class IdleTimer:
    """Calls back when nobody has spoken for the time that the session sets, after the last answer was heard."""

    def __init__(self, on_idle: Callable[[int], None]) -> None:
        self._on_idle = on_idle
        self._handle: asyncio.TimerHandle | None = None

    def restart(self, turn_detection: Json | None, audio_ms: float) -> None:
        self.stop()
        idle_timeout_ms = (turn_detection or {}).get("idle_timeout_ms")
        if idle_timeout_ms:
            wait_s = (audio_ms + idle_timeout_ms) / 1000
            self._handle = asyncio.get_running_loop().call_later(wait_s, self._on_idle, idle_timeout_ms)

    def stop(self) -> None:
        if self._handle:
            self._handle.cancel()
            self._handle = None


def announce(emit: Emit, item: Item, before: str | None) -> None:
    """Tell of an item that is complete at once: `added`, then `done`."""
    emit("conversation.item.added", previous_item_id=before, item=item.wire)
    emit("conversation.item.done", previous_item_id=before, item=item.wire)


def _decoded(audio: object, *, whole_samples: bool) -> bytes:
    if not isinstance(audio, str):
        raise invalid_value("audio", "Invalid 'audio'. Expected base64-encoded audio bytes.")
    try:
        data = base64.b64decode(audio, validate=True)
    except (binascii.Error, ValueError):
        raise invalid_value("audio", "Invalid 'audio'. Expected base64-encoded audio bytes.") from None
    if len(data) > MAX_AUDIO_BYTES:
        raise invalid_value("audio", "Invalid 'audio'. Expected at most 15 MiB.")
    if whole_samples and len(data) % 2:
        raise invalid_value("audio", "Invalid 'audio'. Expected whole 16-bit samples.")
    return data
