"""The process's calls, which outlive their sockets. Begun by the first call: not every server has a lifespan.

Owns the recorder, the spools' disk, the tool gateway and the leases of its calls' places.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import UUID

from django.conf import settings

from sessions_app import metrics
from sessions_app.admission import Refusal
from sessions_app.bridge import Bridge, Connect
from sessions_app.client_secrets import forget
from sessions_app.draining import Drain
from sessions_app.effects import Fact
from sessions_app.gate import Gate
from sessions_app.ledger import Account, Ledger, estimate, settle_late, settle_leftovers
from sessions_app.models import CallSession, Place
from sessions_app.opening import PROCESS, Opening, call_over
from sessions_app.realtime import RealtimeConnection, Upstream, UpstreamFailed, open_connection
from sessions_app.reaper import Reaper, mark_left_tools
from sessions_app.recorder import Recorder
from sessions_app.recording import SPOOL_DIRECTORY, Spool, spool_path
from sessions_app.refused_keys import noticing
from sessions_app.reopening import reopen
from sessions_app.resuming import Return
from sessions_app.spool_disk import SpoolDisk
from sessions_app.tasks import enqueue_left, enqueue_recording
from sessions_app.threads import in_pool, in_thread
from sessions_app.tool_gateway import ToolGateway

logger = logging.getLogger(__name__)
T = TypeVar("T")

HEARTBEAT_S = 5.0  # of a lease of 30 s
LEFTOVERS_EVERY_S = 60.0
STOP_LOOK_S = 2.0  # staff who stop a call wait for it
OPENERS = 1  # threads: each more of them at work takes its share of the interpreter from the calls' sound
DISK_PATIENCE_S = 1.0  # for the sound of a call that has ended, on the thread that stores facts
CLOSE_DISK_S = 5.0
CLOSE_POOLS_S = 5.0
MAX_OVER = 1000


class CallRegistry:
    def __init__(self, *, connect: Connect = open_connection) -> None:
        self._connect = _counted(connect)
        self._disk = SpoolDisk()
        self._recorder = Recorder(on_ended=self._follow)
        self._gateway = ToolGateway()
        self._ledger = Ledger()
        self._openers = ThreadPoolExecutor(OPENERS, thread_name_prefix="opening")
        self._calls: dict[UUID, asyncio.Task[None]] = {}
        self._bridges: dict[UUID, Bridge] = {}
        self._over: OrderedDict[UUID, None] = OrderedDict()  # calls that ended here: their end may not be stored yet
        self._reopening: dict[UUID, asyncio.Future[None]] = {}
        self._sockets: set[asyncio.Task[Any]] = set()
        self._heart: asyncio.Task[None] | None = None
        self._ear: asyncio.Task[None] | None = None
        self._watched = False
        self._reaper = Reaper()
        self._leftovers_due = 0.0
        self._gate = Gate()
        self._drain: Drain | None = None

    def open(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Do what opens a call, or opens it again, on the database. Those that come together wait for their turn."""
        return in_pool(self._openers, work)

    def begin(self, opening: Opening) -> Bridge:
        """Return the bridge of a new call, already running. It ends by itself, and gives its place back."""
        call_id = opening.context.call_id
        directory = settings.DATA_DIR / SPOOL_DIRECTORY
        spool = Spool(call_id, disk=self._disk, directory=directory) if opening.recording else None
        connect = noticing(self._connect, opening.context.clinic)
        facts = metrics.CountedFacts(self._put)
        rates = opening.brief.rates
        kept_back = estimate(rates, opening.brief.transcription_rates) if rates is not None else 0
        account = self._ledger.account(call_id, kept_back)
        bridge = Bridge(opening, connect=connect, recorder=facts, gateway=self._gateway, account=account, spool=spool)
        self._bridges[call_id] = bridge
        self._calls[call_id] = asyncio.create_task(self._carry(call_id, bridge, account))
        self._keep_beating()
        return bridge

    async def resumed(self, back: Return) -> Bridge:
        """Return the bridge of a call whose caller has come back. Raises CannotBegin when it is over.

        A call that no bridge of ours carries was left by a process that died: it goes on here, from its record.
        """
        call_id = back.call_id
        if call_id not in self._bridges and call_id not in self._over:
            opening = self._reopening.get(call_id)
            if opening is None:
                opening = self._reopening[call_id] = asyncio.ensure_future(self._reopen(back))
            await asyncio.shield(opening)
        bridge = self._bridges.get(call_id)
        if bridge is None or bridge.hung_up.done():
            raise call_over()
        return bridge

    async def _reopen(self, back: Return) -> None:
        """Once for all that come at the same time."""
        try:
            self.begin(await self.open(lambda: reopen(back)))
        finally:
            del self._reopening[back.call_id]

    async def _carry(self, call_id: UUID, bridge: Bridge, account: Account) -> None:
        try:
            await bridge.run()
        except Exception as error:  # one call's bug ends that call alone; its text may be patient data
            logger.error("A call failed", extra={"call": str(call_id), "error": type(error).__name__})
        finally:
            del self._bridges[call_id]
            if not bridge.moved:  # one that moved may come back: the other process may die too
                self._over[call_id] = None
            if len(self._over) > MAX_OVER:
                self._over.popitem(last=False)
            try:
                if not bridge.moved:
                    await self._give_back(call_id)
                    await account.close()
            finally:  # only now: a process that ends waits until the place is free
                del self._calls[call_id]

    async def _give_back(self, call_id: UUID) -> None:
        try:
            await in_thread(Place.objects.release, call_id)
        except Exception as error:  # the database is away: the lease ends, and with it the place
            logger.warning(
                "A place could not be given back", extra={"call": str(call_id), "error": type(error).__name__}
            )

    def _put(self, call_id: UUID, fact: Fact) -> None:
        """Hand a fact on. A call whose record finds no room says goodbye: nobody could know what it did."""
        if not self._recorder.put(call_id, fact) and call_id in self._bridges:
            asyncio.get_running_loop().call_soon(self._bridges[call_id].wrap_up)

    def _keep_beating(self) -> None:
        if self._heart is None or self._heart.done():
            self._heart = asyncio.create_task(self._beat())
        if self._bridges and (self._ear is None or self._ear.done()):
            self._ear = asyncio.create_task(self._obey())

    async def _beat(self) -> None:
        """Renew the leases of the calls that live here, and end those that a dead process has left.

        Until there are none here; in a process that is watched, for ever.
        """
        while self._calls or self._watched:
            await asyncio.sleep(HEARTBEAT_S)
            try:
                moved, restored = await in_thread(self._renew_and_reap, list(self._calls), list(self._bridges))
                for call_id in moved:
                    if call_id in self._bridges:
                        self._bridges[call_id].let_go()
                for call_id in restored:
                    if call_id not in self._bridges:  # it ended meanwhile, and gave back a place that was not there
                        await self._give_back(call_id)
            except Exception as error:  # a database that is away now may be back before the lease ends
                logger.warning("The heartbeat failed", extra={"error": type(error).__name__})

    def _renew_and_reap(self, call_ids: list[UUID], going_on: list[UUID]) -> tuple[list[UUID], list[UUID]]:
        """Return those of our calls that another process carries by now, and those that had lost their places.

        `going_on`: those whose end has not begun. Their places are theirs, whatever became of the rows.
        """
        moved: list[UUID] = []
        restored: list[UUID] = []
        if call_ids:
            if Place.objects.renew(call_ids) < len(call_ids):
                restored = Place.objects.restore(going_on)
            if CallSession.objects.renew(call_ids, owner=PROCESS) < len(call_ids):
                moved = CallSession.objects.carried_elsewhere(call_ids, owner=PROCESS)
        self._reaper.look(own=call_ids, now=time.monotonic())
        if time.monotonic() >= self._leftovers_due:
            self._leftovers_due = time.monotonic() + LEFTOVERS_EVERY_S
            for sweep in (settle_leftovers, mark_left_tools, enqueue_left, forget):
                _swept(sweep)
        return moved, restored

    async def _obey(self) -> None:
        """End the calls that staff has asked to stop. Asked of the rows: no message between processes can be lost."""
        while self._bridges:
            await asyncio.sleep(STOP_LOOK_S)
            try:
                asked = await in_thread(CallSession.objects.asked_to_stop, list(self._bridges))
            except Exception as error:  # a database that is away is asked again
                logger.warning("Could not look for calls to stop", extra={"error": type(error).__name__})
                continue
            for call_id in asked:
                if call_id in self._bridges:
                    self._bridges[call_id].stop("stopped")

    @property
    def live(self) -> int:
        return len(self._calls)

    @property
    def tasks(self) -> frozenset[asyncio.Task[None]]:
        """The calls in progress: each task ends when its call has."""
        return frozenset(self._calls.values())

    # What a process that serves does besides: admission, and letting go.

    def watch(self) -> None:
        """Look at the process's load from now on. To be called in the loop that carries the calls."""
        self._gate.watch()
        self._watched = True
        self._keep_beating()

    def admit(self) -> Refusal | None:
        """Return why no call may begin now; None counts as a start."""
        return self._gate.admit(live=self.live, draining=self.draining, storing_late_s=self._recorder.health().late_s)

    def carries(self, call_id: UUID | None) -> bool:
        """Whether the call is one of this process, so that its caller comes back to what is here already."""
        return call_id in self._bridges or call_id in self._over

    def not_begun(self) -> None:
        """What was admitted had no good key, and was no start."""
        self._gate.not_begun()

    @property
    def overload(self) -> str:
        """What this process has too much of, or ""."""
        return self._gate.overload(live=self.live, storing_late_s=self._recorder.health().late_s)

    @property
    def sockets(self) -> int:
        return len(self._sockets)

    @property
    def recorder(self) -> Recorder:
        return self._recorder

    @property
    def draining(self) -> bool:
        return self._drain is not None

    @contextmanager
    def socket(self) -> Iterator[None]:
        """Note that the current task serves a caller's socket: a drain waits until it has said its close."""
        task = asyncio.current_task()
        assert task is not None
        self._sockets.add(task)
        try:
            yield
        finally:
            self._sockets.discard(task)

    async def drain(self, within_s: float) -> None:
        """Take no new call, and let those in progress end: by themselves, else at the limit. Ends a few s after it."""
        if self._drain is None:
            self._drain = Drain(
                tasks=lambda: [*self._calls.values(), *self._sockets], wrap_up=self._wrap_up, stop=self._stop
            )
            metrics.DRAINING.set(1)
            cancelled = await self._drain.run(within_s)
            logger.info("Drained", extra={"cancelled": cancelled})

    def hurry(self) -> None:
        """A drain in progress ends its calls now."""
        if self._drain is not None:
            self._drain.hurry()

    def _wrap_up(self) -> None:
        for bridge in list(self._bridges.values()):
            bridge.wrap_up()

    def _stop(self) -> None:
        for bridge in list(self._bridges.values()):
            bridge.stop("interrupted")

    def _follow(self, session_id: UUID) -> None:
        """What follows a call whose end is stored. An end that came late, from a journal, may have cost more."""
        session = CallSession.objects.only("recording_kept", "cost_microusd").get(pk=session_id)
        if session.recording_kept:
            self._see_to_sound(session)
        settle_late(session_id, session.cost_microusd or 0)

    def _see_to_sound(self, session: CallSession) -> None:
        """Have the sound encoded; of a disk that does not take it in time, the sweep for what was left sees to it."""
        if self._disk.written(spool_path(session.pk, directory=settings.DATA_DIR / SPOOL_DIRECTORY), DISK_PATIENCE_S):
            enqueue_recording(session)

    async def flush(self) -> None:
        """Wait until everything that has happened is stored."""
        await asyncio.to_thread(self._recorder.drain)

    def close(self) -> None:
        """Store what is there, and let go of the threads. No call may be in progress."""
        self._gate.close()
        self._watched = False
        # Beside: a tool that hangs, or a frozen database, would keep the process. What happened is stored all the same.
        ends = (self._gateway.close, self._ledger.close, self._openers.shutdown)
        letting_go = [threading.Thread(target=end, daemon=True) for end in ends]
        for thread in letting_go:
            thread.start()
        self._recorder.close()
        self._disk.close(CLOSE_DISK_S)
        until = time.monotonic() + CLOSE_POOLS_S
        for thread in letting_go:
            thread.join(timeout=max(0.0, until - time.monotonic()))


def _counted(connect: Connect) -> Connect:
    async def count_and_connect(upstream: Upstream) -> RealtimeConnection:
        began = time.monotonic()
        try:
            connection = await connect(upstream)
        except UpstreamFailed as failed:
            metrics.UPSTREAM_CONNECTS.labels(metrics.upstream_code(failed.code)).inc()
            raise
        metrics.UPSTREAM_CONNECTS.labels("ok").inc()
        metrics.UPSTREAM_SECONDS.observe(time.monotonic() - began)
        return connection

    return count_and_connect


def _swept(sweep: Callable[[], int]) -> None:
    """Put right what was left, of one kind; what fails is left to the next sweep, and holds no other kind back."""
    try:
        if swept := sweep():
            logger.info("What was left has been put right", extra={"sweep": sweep.__name__, "count": swept})
    except Exception as error:
        logger.warning("A sweep failed", extra={"sweep": sweep.__name__, "error": type(error).__name__})


_registry: CallRegistry | None = None
_lock = threading.Lock()


def registry() -> CallRegistry:
    """Return this process's registry."""
    global _registry
    with _lock:
        if _registry is None:
            _registry = CallRegistry()
        return _registry


def close_registry() -> None:
    """End this process's registry; the next call begins a new one. Blocks until everything is stored."""
    global _registry
    with _lock:
        ended, _registry = _registry, None
    if ended is not None:
        ended.close()
