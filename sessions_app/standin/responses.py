"""The responses of one session: one at a time in the conversation, others beside it, each cut at any moment."""

import asyncio
import datetime
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from sessions_app.standin.configuration import checked_response
from sessions_app.standin.conversation import Conversation, Item
from sessions_app.standin.dialogue import Reply, Scene, decide
from sessions_app.standin.faults import Faults
from sessions_app.standin.formats import encode, ms_of_pcm
from sessions_app.standin.leg import Emit, Room
from sessions_app.standin.output import FunctionCall, Message, OutputItem, Place, argument_chunks
from sessions_app.standin.usage import Meter, Token, prompt_tokens, text_tokens
from sessions_app.standin.voice import sentences
from sessions_app.standin.wire import Json, Refusal, invalid_value, new_id

logger = logging.getLogger(__name__)

AUDIO_DELTA_MS = 200
HEARING_TIMEOUT_S = 15.0
TOKENS_A_MINUTE = 15_000_000
FAILURES = {
    "rate_limit_exceeded": ("rate_limit_error", "Rate limit reached. Please try again in a moment."),
    "insufficient_quota": ("insufficient_quota", "You exceeded your current quota, please check your plan."),
    "server_error": ("server_error", "The server had an error while processing your request."),
}


class Speaker(Protocol):
    async def sound(self, text: str, *, voice: str, speed: float) -> bytes: ...


@dataclass
class Stage:
    """What every response of a session stands on."""

    emit: Emit
    room: Room
    conversation: Conversation
    meter: Meter
    faults: Faults
    speaker: Speaker
    heard: asyncio.Condition
    finished: Callable[[float], None]
    """Told of each response of the conversation that ended by itself, with the milliseconds of its sound."""


class Response:
    """One response: a task that speaks, and a cut that ends it with every event in its place."""

    def __init__(self, stage: Stage, session: Json, settings: Json) -> None:
        self._stage = stage
        self._session = session
        self._settings = settings
        self.out_of_band = settings.get("conversation") == "none"
        self.body = self._new_body()
        self._place = Place(stage.emit, self.body, None if self.out_of_band else stage.conversation)
        self._open: OutputItem | None = None
        self._task: asyncio.Task[None] | None = None
        self._prompt: list[Token] = []
        self.done = asyncio.Event()

    def start(self) -> None:
        self._stage.emit("response.created", response=self.body)
        self._task = asyncio.create_task(self._guarded())

    def cancel(self, reason: str) -> None:
        """End it now: the events of what is open, then `response.done`, before anything else is sent."""
        if self.done.is_set():
            return
        if self._task:
            self._task.cancel()
        self._close_open("incomplete")
        self._finish("cancelled", {"type": "cancelled", "reason": reason})

    def stop(self) -> None:
        """End it without a word: the session is over."""
        if self._task:
            self._task.cancel()

    async def _guarded(self) -> None:
        try:
            await self._run()
        except Exception as error:  # a bug of the dialogue ends the response, as it would at the service
            logger.error("Response failed", extra={"error": type(error).__name__})
            self._close_open("incomplete")
            self._fail("server_error")

    async def _run(self) -> None:
        items = self._context()
        await self._await_hearing(items)
        instructions = self._setting("instructions")
        self._prompt = prompt_tokens(instructions, self._tools(), items)
        if self._stage.faults.silent_upstream:
            return
        action = self._forced() or {}
        if code := action.get("fail"):
            self._fail(code)
            return
        reply = self._reply(action, items)
        limit = self._limit(reply.say, action)
        await self._perform(reply, limit)
        if limit is None:
            self._finish("completed", None)
        else:
            reason = action.get("incomplete") or "max_output_tokens"
            self._finish("incomplete", {"type": "incomplete", "reason": reason})

    def _fail(self, code: str) -> None:
        kind, message = FAILURES.get(code, (code, "The response failed."))
        self.body["output"].clear()
        self._finish("failed", {"type": "failed", "error": {"type": kind, "code": code, "message": message}})

    def _forced(self) -> Json | None:
        faults = self._stage.faults
        if faults.script:
            return faults.script.pop(0)
        if faults.failed_response and faults.strikes("failed"):
            return {"fail": faults.failed_response}
        if faults.incomplete_response and faults.strikes("incomplete"):
            return {"incomplete": faults.incomplete_response}
        return None

    def _reply(self, action: Json, items: list[Item]) -> Reply:
        if "say" in action or "call" in action:
            return Reply(say=action.get("say", ""), calls=[(name, args) for name, args in action.get("call", [])])
        own = self._settings.get("instructions")
        return decide(
            Scene(
                instructions=self._session["instructions"],
                own_instructions=own,
                tools=self._tools(),
                tool_choice=self._setting("tool_choice"),
                items=items,
                today=datetime.datetime.now().astimezone().date(),
            )
        )

    def _limit(self, text: str, action: Json) -> int | None:
        """Return after how many characters the text is cut, or None."""
        if action.get("incomplete"):
            return len(text) // 2
        most = self.body["max_output_tokens"]
        return most * 4 if most != "inf" and text_tokens(text) > most else None

    async def _perform(self, reply: Reply, limit: int | None) -> None:
        if reply.say:
            phase = "commentary" if reply.calls else "final_answer"
            await self._speak(reply.say[:limit], phase, "completed" if limit is None else "incomplete")
        if limit is None:
            for name, arguments in reply.calls:
                await self._call(name, arguments)

    async def _speak(self, text: str, phase: str, status: str) -> None:
        audible = self.body["output_modalities"] == ["audio"]
        self._open = message = Message(self._place, audible=audible, phase=phase)
        for sentence in sentences(text):
            # The transcript leads the sound, sentence by sentence, as the service's does.
            sound = await self._sound(sentence) if audible else b""
            for word in _words(sentence):
                message.add_text(word)
                await self._breathe(0)
            await self._send_sound(message, sound)
        self._close_open(status)

    async def _sound(self, sentence: str) -> bytes:
        output = self.body["audio"]["output"]
        speed = self._session["audio"]["output"]["speed"]
        return await self._stage.speaker.sound(sentence, voice=str(output["voice"]), speed=speed)

    async def _send_sound(self, message: Message, pcm: bytes) -> None:
        audio_format = self.body["audio"]["output"]["format"]
        step = AUDIO_DELTA_MS * 48
        for start in range(0, len(pcm), step):
            piece = pcm[start : start + step]
            message.add_audio(encode(piece, audio_format), ms_of_pcm(piece))
            await self._breathe(ms_of_pcm(piece) / 1000 / self._stage.faults.pace)

    async def _call(self, name: str, arguments: object) -> None:
        call_id = new_id("call")
        for _ in range(2 if self._stage.faults.duplicate_call else 1):
            self._open = function_call = FunctionCall(self._place, name=name, call_id=call_id)
            for chunk in argument_chunks(arguments):
                function_call.add_arguments(chunk)
                await self._breathe(0)
            self._close_open("completed")

    async def _breathe(self, seconds: float) -> None:
        await self._stage.room()
        await asyncio.sleep(max(seconds, self._stage.faults.delta_ms / 1000))

    async def _await_hearing(self, items: list[Item]) -> None:
        """Wait until what the caller said last has been recognised: a model would hear it by itself."""

        def all_heard() -> bool:
            return all(item.heard is not None for item in items)

        async with self._stage.heard:
            try:
                await asyncio.wait_for(self._stage.heard.wait_for(all_heard), HEARING_TIMEOUT_S)
            except TimeoutError:
                return

    def _context(self) -> list[Item]:
        given = self._settings.get("input")
        if given is None:
            return list(self._stage.conversation.items)
        items = [self._referenced(entry) for entry in given]
        return [item for item in items if item is not None]

    def _referenced(self, entry: Json) -> Item | None:
        if entry.get("type") == "item_reference" or set(entry) == {"id"}:
            return self._stage.conversation.find(entry["id"])
        return Item({"id": new_id("item"), "status": "completed", **entry})

    def _tools(self) -> list[Json]:
        return [tool for tool in self._setting("tools") if tool.get("type") == "function"]

    def _setting(self, name: str) -> Any:
        """Return a setting of this response, else the session's."""
        own = self._settings.get(name)
        return self._session[name] if own is None else own

    def _close_open(self, status: str) -> None:
        if self._open:
            self._open.close(status)
            self._open = None

    def _finish(self, status: str, details: Json | None) -> None:
        spoken = self._place.spoken
        if status == "failed" or (status == "cancelled" and not self.body["output"]):
            usage = self._stage.meter.nothing()
        else:
            usage = self._stage.meter.usage(self._prompt, spoken)
        self.body |= {"status": status, "status_details": details, "usage": usage}
        self.done.set()
        self._stage.emit("response.done", response=self.body)
        if status in ("completed", "incomplete") and not self._stage.faults.no_rate_limits:
            self._stage.emit("rate_limits.updated", rate_limits=[_token_limit(usage["total_tokens"])])
        if status != "cancelled" and not self.out_of_band:
            self._stage.finished(spoken.audio_ms)

    def _new_body(self) -> Json:
        output = self._session["audio"]["output"]
        own = (self._settings.get("audio") or {}).get("output") or {}
        return {
            "object": "realtime.response",
            "id": new_id("resp"),
            "status": "in_progress",
            "status_details": None,
            "output": [],
            "conversation_id": None if self.out_of_band else self._stage.conversation.id,
            "output_modalities": self._setting("output_modalities"),
            "max_output_tokens": self._setting("max_output_tokens"),
            "audio": {
                "output": {
                    "format": own.get("format", output["format"]),
                    "voice": own.get("voice", output["voice"]),
                }
            },
            "usage": None,
            "metadata": self._settings.get("metadata"),
        }


class Responses:
    """Which responses run: at most one in the conversation, any number beside it."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._running: list[Response] = []

    @property
    def active(self) -> Response | None:
        return next((run for run in self._live() if not run.out_of_band), None)

    def create(self, session: Json, settings: object) -> Response:
        """Start a response, or raise Refusal while another holds the conversation."""
        response = Response(self._stage, session, checked_response(settings))
        active = self.active
        if active and not response.out_of_band:
            raise Refusal(
                "conversation_already_has_active_response",
                f"Conversation already has an active response in progress: {active.body['id']}. "
                "Wait until the response is finished before creating a new one.",
            )
        self._running.append(response)
        response.start()
        return response

    def cancel(self, response_id: object, reason: str) -> None:
        """Cut the response named, else the conversation's. Raises Refusal when it does not run."""
        if response_id is not None and not isinstance(response_id, str):
            raise invalid_value("response_id", "Expected response_id to be a string.")
        named = [run for run in self._live() if run.body["id"] == response_id] if response_id else [self.active]
        if not named or named[0] is None:
            raise Refusal("response_cancel_not_active", "Cancellation failed: no active response found")
        named[0].cancel(reason)

    def stop(self) -> None:
        for run in self._running:
            run.stop()

    def _live(self) -> list[Response]:
        self._running = [run for run in self._running if not run.done.is_set()]
        return self._running


def _words(sentence: str) -> list[str]:
    """Return the deltas of a sentence: words with the blank before them, as a tokenizer cuts."""
    parts = sentence.split(" ")
    return [parts[0], *(f" {part}" for part in parts[1:])]


def _token_limit(used: int) -> Json:
    return {"name": "tokens", "limit": TOKENS_A_MINUTE, "remaining": TOKENS_A_MINUTE - used, "reset_seconds": 0.0}
