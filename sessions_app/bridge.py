"""One call's tasks: feeds the call, performs its effects. The only reader of the monotonic clock.

Effects are performed at once and without waiting: each leg has a queue of its own, tools run in tasks of the call. So
effects keep their order whoever caused them, and no slow leg holds the other back.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol
from uuid import UUID

from sessions_app import metrics, resuming
from sessions_app.call import Call
from sessions_app.call.budget import Standing
from sessions_app.dialect import said
from sessions_app.dialect.heard import spelled
from sessions_app.effects import (
    AudioToModel,
    CallEnded,
    ConnectModel,
    CutSound,
    DropOldToken,
    Effect,
    Fact,
    HangUp,
    LeaveModel,
    LeaveTask,
    Record,
    RefuseTool,
    RunTool,
    Spend,
    TakeBack,
    ToCaller,
    ToModel,
)
from sessions_app.events import AudioDelta, Malformed, encode_audio, parse
from sessions_app.ledger import Account
from sessions_app.leg import Leg
from sessions_app.opening import Opening
from sessions_app.realtime import RealtimeConnection, Upstream, UpstreamFailed
from sessions_app.recording import Spool
from sessions_app.resuming import Return
from sessions_app.threads import in_thread
from sessions_app.tool_gateway import ToolGateway

logger = logging.getLogger(__name__)


class Facts(Protocol):
    """Where what happened goes: to the recorder, perhaps by way of somebody who counts."""

    def put(self, session_id: UUID, fact: Fact) -> None: ...


Connect = Callable[[Upstream], Awaitable[RealtimeConnection]]

CLOSE_FAILED = 1011
CLOSE_REPLACED = 4409
LOOK_AFTER_SOUND_S = 0.25  # how late, at most, a time is noticed that a frame of sound has set
MAX_SOUND_WAIT_S = 2.0  # for an upstream that is too slow: later than this nobody would be answered in time


class Bridge:
    """Lives as long as the call, not as long as the caller's socket."""

    def __init__(
        self,
        opening: Opening,
        *,
        connect: Connect,
        recorder: Facts,
        gateway: ToolGateway,
        account: Account,
        spool: Spool | None,
    ) -> None:
        self._opening = opening
        self._connect, self._recorder, self._gateway, self._spool = connect, recorder, gateway, spool
        self._account = account
        past = opening.brief.past
        self._now = time.monotonic()
        self._started = self._now - (past.elapsed_ms / 1000 if past is not None else 0.0)
        self._sample_bytes = opening.brief.audio.sample_bytes
        self._call = Call(opening.brief, started=self._started)
        self._caller: Leg | None = None
        self._token = ""  # the caller's way back
        self._epoch = 1 if past is None else past.epoch - 1  # how often it has come
        self._model: asyncio.Task[None] | None = None  # carries the upstream connection
        self._model_out: Leg | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0
        self.moved = False  # to another process
        self.hung_up: asyncio.Future[HangUp] = asyncio.get_running_loop().create_future()

    @property
    def _call_id(self) -> UUID:
        return self._opening.context.call_id

    async def run(self) -> None:
        """Carry the call to its end. Ends by itself; cancelled, it ends the call and stores it as interrupted."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self._take(lambda now: self._call.begun(now=now))
                await asyncio.shield(self.hung_up)
                self._leave()
        finally:
            self._take(lambda now: self._call.stop("interrupted", now=now))
            if self._alarm is not None:
                self._alarm.cancel()
            self._close_spool()  # also of a call that moved: its end is stored elsewhere

    # The caller's leg.

    def attach(self, leg: Leg, *, token: str = "") -> None:
        """The caller's socket is there: what goes to the caller goes here. With `token` it can come back."""
        self._caller, self._token = leg, token
        self._take(lambda now: self._call.opened(now=now, token=token))

    def attach_again(self, leg: Leg, back: Return) -> bool:
        """The caller has come back on another socket. The last one wins: False when a later one is there already."""
        if back.epoch <= self._epoch:
            return False
        replaced, self._caller = self._caller, leg
        self._token, self._epoch = back.token, back.epoch
        if replaced is not None:
            replaced.finish()
        self._take(lambda now: self._call.caller_back(now=now, token=back.token))
        return True

    def from_caller(self, text: str) -> None:
        """Take one message of the caller's."""
        if self._call.ended:
            return
        if not self._call.admits(len(text), now=time.monotonic()):
            self._take(lambda now: self._call.too_fast(now=now))
            return
        try:
            event = said.parse_caller(text, sample_bytes=self._sample_bytes)
        except said.Refused as refusal:
            refused = refusal
            self._take(lambda now: self._call.refused(refused, now=now))
            return
        if isinstance(event, said.Append):
            self._take_sound(self._call.from_caller, event)
        else:
            self._take(lambda now: self._call.from_caller(event, now=now))

    def detach(self, leg: Leg | None, code: int) -> bool:
        """The caller's socket is gone, and this is how it closed. False when another has taken its place before."""
        if leg is not self._caller:
            return False
        self._caller = None
        self._take(lambda now: self._call.caller_left(now=now, code=code))
        if self._token and not self._call.ended:
            self._in_background(_quietly(resuming.hold, self._token))
        return True

    def _drop_old_token(self, effect: DropOldToken) -> None:
        self._in_background(_quietly(resuming.kept, self._token))

    # The process.

    def wrap_up(self) -> None:
        """The process will end soon: the call is told to come to its own end before that."""
        self._take(lambda now: self._call.wrap_up(now=now))

    def stop(self, reason: str) -> None:
        """End the call now."""
        self._take(lambda now: self._call.stop(reason, now=now))

    def let_go(self) -> None:
        """Another process carries the call by now. Nothing of it is stored here any more, not even an end."""
        if self._call.ended:
            return
        self.moved = True
        self._call.let_go()
        self._hang_up(HangUp(CLOSE_REPLACED, "replaced"))

    # The model's leg.

    def _connect_model(self, effect: ConnectModel) -> None:
        self._leave()
        if self._tasks is not None and not self.hung_up.done():
            self._model = self._tasks.create_task(self._carry_model(effect.within_ms))

    def _leave_model(self, effect: LeaveModel) -> None:
        self._leave()

    def _leave(self) -> None:
        """Let go of the upstream connection. Nothing of it reaches the call any more, whatever is on its way."""
        if self._model is not None:
            # Not at once: it may be this very task that was told to.
            asyncio.get_running_loop().call_soon(self._model.cancel)
        self._model = self._model_out = None

    async def _carry_model(self, within_ms: int) -> None:
        """Carry one upstream connection from its first try to its end."""
        await asyncio.sleep(random.uniform(0, within_ms / 1000))
        try:
            connection = await self._connect(self._opening.upstream)
        except UpstreamFailed as failed:
            lost = failed.code
        else:
            lost = await self._carry(connection)
        if self._model is asyncio.current_task():
            metrics.UPSTREAM_LOST.labels(metrics.upstream_code(lost)).inc()
            self._take(lambda now: self._call.model_lost(lost, now=now))

    async def _carry(self, connection: RealtimeConnection) -> str:
        """Carry what goes over a connection, both ways. Return why it ended."""
        me, self._model_out = (
            asyncio.current_task(),
            Leg(connection.send, try_send=connection.try_send, max_sound_wait_s=MAX_SOUND_WAIT_S),
        )
        sender = asyncio.create_task(_send_all(self._model_out, connection))
        try:
            self._take(lambda now: self._call.model_connected(now=now))
            await connection.each(partial(self._from_model, me))
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
            await connection.close()
        return connection.lost_code

    def _from_model(self, connection: asyncio.Task[None] | None, text: str | bytes) -> None:
        """Take one frame of a connection; of one that was let go of nothing is heard."""
        if self._model is not connection or self._call.ended:
            return
        try:
            event = parse(text)
        except Malformed:
            self._take(lambda now: self._call.malformed(now=now))
            return
        if isinstance(event, AudioDelta):
            self._take_sound(self._call.from_model, event)
        else:
            self._take(lambda now: self._call.from_model(event, now=now))

    # Effects.

    def _take(self, decide: Callable[[float], list[Effect]]) -> None:
        """Let the call decide, and do what it says. A fault of ours ends this call, and says so in its row."""
        if self._call.ended:
            return
        self._now = time.monotonic()
        try:
            self._perform(decide(self._now))
        except Exception as fault:
            self._failed(fault)

    def _take_sound(self, decide: Callable[..., list[Effect]], sound: said.Append | AudioDelta) -> None:
        """As `_take`. A frame rarely sets a time: when one is due is asked once for many, and not for each of them."""
        self._now = time.monotonic()
        try:
            for effect in decide(sound, now=self._now):
                _PERFORM[type(effect)](self, effect)
            if self._alarm is None or self._alarm_at > self._now + LOOK_AFTER_SOUND_S:
                self._set_alarm(self._now + LOOK_AFTER_SOUND_S)
        except Exception as fault:
            self._failed(fault)

    def _failed(self, fault: Exception) -> None:
        # Not its text, which may be patient data.
        logger.error("A call failed", extra={"call": str(self._call_id), "error": type(fault).__name__})
        try:
            self._perform(self._call.stop("internal", now=time.monotonic()))
        except Exception as again:
            logger.error("A call failed", extra={"call": str(self._call_id), "error": type(again).__name__})
        if self._call.ended:  # the fault may have come among the effects of the end itself, before the last of them
            self._hang_up(HangUp(CLOSE_FAILED, "internal"))

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            _PERFORM[type(effect)](self, effect)
        if not self._call.ended:
            self._set_alarm(self._call.next_tick())

    def _to_caller(self, effect: ToCaller) -> None:
        if self._caller is not None:
            self._caller.put(spelled(effect.event))
            if effect.pcm and self._spool is not None:
                self._spool.agent(effect.item_id, effect.pcm, at_ms=self._at_ms())

    def _to_model(self, effect: ToModel) -> None:
        self._put_model(json.dumps(effect.event, ensure_ascii=False))

    def _audio_to_model(self, effect: AudioToModel) -> None:
        if self._model_out is not None:
            audio = effect.encoded or encode_audio(effect.pcm)
            text = f'{{"type":"input_audio_buffer.append","audio":"{audio}"}}'
            if dropped := self._model_out.put_sound(text, len(effect.pcm), now=self._now):
                self._perform(self._call.sound_dropped(dropped, behind=self._model_out.sound_bytes, now=self._now))
        if self._spool is not None:
            self._spool.caller(effect.pcm, at_ms=self._at_ms())

    def _put_model(self, text: str) -> None:
        if self._model_out is not None:
            self._model_out.put(text)

    def _cut(self, effect: CutSound) -> None:
        if self._spool is not None:
            self._spool.cut(effect.item_id, heard_ms=effect.heard_ms)

    def _take_back(self, effect: TakeBack) -> None:
        if self._spool is not None:
            self._spool.take_back(effect.item_id, heard_ms=effect.heard_ms)

    def _run_tool(self, effect: RunTool) -> None:
        self._in_background(self._tool(effect))

    async def _tool(self, effect: RunTool) -> None:
        result = await self._gateway.run(effect, self._opening.context)
        self._take(lambda now: self._call.from_tool(effect.call_id, result, now=now))

    def _refuse_tool(self, effect: RefuseTool) -> None:
        self._gateway.refuse(effect, self._opening.context)

    def _leave_task(self, effect: LeaveTask) -> None:
        self._gateway.leave_task(effect, self._opening.context)

    def _spend(self, effect: Spend) -> None:
        if self._account.spent(effect.total_microusd):
            self._in_background(self._settle())

    async def _settle(self) -> None:
        async for standing in self._account.settle():
            self._stands(standing)

    def _stands(self, standing: Standing) -> None:
        self._take(lambda now: self._call.from_ledger(standing, now=now))

    def _in_background(self, work: Any) -> None:
        if self._tasks is not None and not self.hung_up.done():
            self._tasks.create_task(work)
        else:
            work.close()

    def _record(self, effect: Record) -> None:
        if isinstance(effect.fact, CallEnded):
            self._close_spool()  # before the end is stored: what follows it looks for the sound
        self._recorder.put(self._call_id, effect.fact)

    def _close_spool(self) -> None:
        spool, self._spool = self._spool, None
        if spool is not None:
            spool.close()

    def _hang_up(self, effect: HangUp) -> None:
        if self._caller is not None:
            self._caller.finish()
        if not self.hung_up.done():
            self.hung_up.set_result(effect)

    # Time.

    def _at_ms(self) -> int:
        return round((self._now - self._started) * 1000)

    def _set_alarm(self, due: float | None) -> None:
        if self._alarm is not None:
            if due is not None and abs(self._alarm_at - due) < 0.001:
                return
            self._alarm.cancel()
        # The loop's clock is the monotonic clock. uvloop's handle does not know its time when that is now.
        self._alarm = None if due is None else asyncio.get_running_loop().call_at(due, self._ring)
        self._alarm_at = due or 0.0

    def _ring(self) -> None:
        self._alarm = None
        self._take(lambda now: self._call.tick(now=now))


async def _quietly(write: Callable[[str], None], token: str) -> None:
    """Write what a token is worth now. Without it the caller has its way back all the same, for a while longer."""
    try:
        await in_thread(write, token)
    except Exception as error:
        logger.warning("A way back could not be noted", extra={"error": type(error).__name__})


async def _send_all(leg: Leg, connection: RealtimeConnection) -> None:
    """Send what is put, until the leg ends; a leg that upstream cannot keep up with ends the connection."""
    try:
        await leg.run()
    finally:
        await connection.close()


_PERFORM: dict[type, Callable[[Bridge, Any], None]] = {
    ToCaller: Bridge._to_caller,
    ToModel: Bridge._to_model,
    AudioToModel: Bridge._audio_to_model,
    ConnectModel: Bridge._connect_model,
    LeaveModel: Bridge._leave_model,
    CutSound: Bridge._cut,
    TakeBack: Bridge._take_back,
    DropOldToken: Bridge._drop_old_token,
    RunTool: Bridge._run_tool,
    RefuseTool: Bridge._refuse_tool,
    LeaveTask: Bridge._leave_task,
    Spend: Bridge._spend,
    Record: Bridge._record,
    HangUp: Bridge._hang_up,
}
