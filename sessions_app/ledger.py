"""Keeps what calls cost within what was set: reserves before a call, settles as it goes on, gives back after it.

Totals are absolute and the greatest one counts, so that they may come twice, late and in any order. The rows of a
period are locked in one order and changed in one transaction: the bounds are exact, whoever else spends.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from agents_app.models import Clinic
from agents_app.practice.models import Task
from agents_app.practice.tasks import leave_task
from agents_app.session_config import TRANSCRIPTION_MODEL
from sessions_app.call.budget import Standing
from sessions_app.cost import Rates, cost_microusd
from sessions_app.models import CallSession, LedgerEntry, LedgerPeriod, Place, Price
from sessions_app.threads import in_pool

logger = logging.getLogger(__name__)

WARN_SHARE = 0.8  # of a cap that is spent
POOL_THREADS = 1  # more would wait for the same rows, and each holds the calls' sound up while it works
SETTLED_SHARE = 0.25  # of what is kept back for a call: when so much of it is spent, that is settled
PERIODS = 4  # in which a call counts: day and month, of its clinic and of the installation
LEFT_AFTER = dt.timedelta(seconds=60)  # an entry whose call holds no place by then was left by a process that died
MAX_LEFTOVERS = 50  # in one sweep
SETTLE_S = 30.0  # for a settlement in mid-call: the end of the call would wait for one that hangs
CLOSE_S = 5.0  # that the end of a call waits for its last settlement

# What two minutes may use: both talk half of the time, the prompt is read ten times and is new once.
ESTIMATED_USAGE = {
    "text_in": 12_000,
    "text_cached": 60_000,
    "text_out": 1_500,
    "audio_in": 1_200,
    "audio_cached": 3_000,
    "audio_out": 1_200,
    "transcription_ms": 60_000,
}


_TO_SETTLE = ("day", "estimate_microusd", "reserved_microusd", "spent_microusd", "settled")
_CAPS = ("clinic__daily_cap_usd", "clinic__monthly_cap_usd")


@dataclass(frozen=True)
class Prices:
    """What a call is counted by, as of the day on which it begins; None: nobody has said."""

    model: Rates | None
    transcription: Rates | None


def prices_of(model: str) -> Prices:
    prices = Price.objects.on(timezone.now().date(), models=[model, TRANSCRIPTION_MODEL])
    return Prices(prices.get(model), prices.get(TRANSCRIPTION_MODEL))


def estimate(rates: Rates, transcription: Rates | None) -> int:
    """Return what is kept back for a call, in millionths of a US dollar."""
    return cost_microusd(ESTIMATED_USAGE, rates, transcription=transcription)


def capped(clinic: Clinic) -> bool:
    """Whether anything bounds what the clinic's calls may cost."""
    return any(cap_of(whose, kind) is not None for whose in (clinic, None) for kind in LedgerPeriod.Kind)


def cap_of(clinic: Clinic | None, kind: str) -> int | None:
    """Return what a period of a clinic, or without one of the installation, may cost: millionths of a US dollar."""
    day, month = (
        (settings.DAILY_CAP_USD, settings.MONTHLY_CAP_USD)
        if clinic is None
        else (clinic.daily_cap_usd, clinic.monthly_cap_usd)
    )
    dollars: Decimal | None = day if kind == LedgerPeriod.Kind.DAY else month
    return None if dollars is None else int(dollars * 1_000_000)


def reserve(clinic: Clinic, call_id: UUID, estimate_microusd: int) -> bool:
    """Keep back what a new call may need; False, and nothing is kept, when it does not fit any more."""
    day = timezone.now().astimezone(clinic.zone).date()
    try:
        return _reserve(clinic, day, call_id, estimate_microusd)
    except LedgerPeriod.DoesNotExist:  # the first call of its day
        LedgerPeriod.objects.make(clinic, day)
        return _reserve(clinic, day, call_id, estimate_microusd)


def _reserve(clinic: Clinic, day: dt.date, call_id: UUID, estimate_microusd: int) -> bool:
    with transaction.atomic():
        periods = _lock_periods(clinic, day)
        if len(periods) < PERIODS:
            raise LedgerPeriod.DoesNotExist
        if not _fits(periods, clinic, estimate_microusd):
            _alert(periods, clinic, lacking=estimate_microusd)
            return False
        LedgerEntry.objects.create(
            call_id=call_id,
            clinic=clinic,
            day=day,
            estimate_microusd=estimate_microusd,
            reserved_microusd=estimate_microusd,
        )
        _store(periods, spent=0, reserved=estimate_microusd)
    return True


def has_room(clinic: Clinic, model: str) -> bool:
    """Whether what calls may cost leaves room for one more. It keeps nothing back, and another may be faster."""
    if not capped(clinic):
        return True
    prices = prices_of(model)
    if prices.model is None:
        return may_be_unpriced(clinic, model)
    wanted = estimate(prices.model, prices.transcription)
    day = timezone.now().astimezone(clinic.zone).date()
    if _fits(list(LedgerPeriod.objects.of(clinic, day)), clinic, wanted):  # what lacks is a period without a call
        return True
    with transaction.atomic():
        periods = _lock_periods(clinic, day)
        fits = _fits(periods, clinic, wanted)
        if not fits:
            _alert(periods, clinic, lacking=wanted)
    return fits


def may_be_unpriced(clinic: Clinic, model: str) -> bool:
    """Whether a call may begin though nobody has said what its model costs: where nothing bounds it. Else say so."""
    if not capped(clinic):
        return True
    _alert_unpriced(clinic, model)
    return False


def _alert_unpriced(clinic: Clinic, model: str) -> None:
    """Tell the staff, once a day, that no call begins since nobody has said what the model costs."""
    day = timezone.now().astimezone(clinic.zone).date()
    LedgerPeriod.objects.make(clinic, day)
    today = LedgerPeriod.objects.filter(clinic=clinic, kind=LedgerPeriod.Kind.DAY, begins=day)
    if today.filter(refused_at=None).update(refused_at=Now()):
        text = _("What calls may cost is bounded, and no price is known for the model %(model)s: no call begins.")
        _tell(clinic, text % {"model": model}, urgent=True)


def settle(call_id: UUID, total_microusd: int, *, final: bool = False) -> Standing:
    """Note that the call has cost `total_microusd` so far, and keep the estimate back again where that fits.

    `final`: the call is over, and nothing is kept back. Afterwards a greater total still counts.
    """
    with transaction.atomic():
        mine = LedgerEntry.objects.select_for_update(of=("self",)).select_related("clinic")
        entry = mine.only(*_TO_SETTLE, *_CAPS).filter(call_id=call_id).first()
        if entry is None:
            return Standing.OK
        clinic = entry.clinic
        periods = _lock_periods(clinic, entry.day)
        spent = max(0, total_microusd - entry.spent_microusd)
        reserved = max(0, entry.reserved_microusd - spent)
        _count(periods, spent=spent, reserved=reserved - entry.reserved_microusd)
        final = final or entry.settled
        wanted = 0 if final else entry.estimate_microusd - reserved
        fits = _fits(periods, clinic, wanted)
        standing = _standing(periods, clinic, fits=fits, reserved=reserved)
        kept = 0 if final else reserved + (wanted if fits else 0)
        _count(periods, spent=0, reserved=kept - reserved)
        _store(periods, spent=spent, reserved=kept - entry.reserved_microusd)
        LedgerEntry.objects.filter(pk=entry.pk).update(
            spent_microusd=entry.spent_microusd + spent, reserved_microusd=kept, settled=final
        )
        _alert(periods, clinic, lacking=0 if fits else wanted)
    return standing


def settle_abandoned(call_id: UUID) -> None:
    """Settle a call that ended without its process: what is known of its cost counts, the rest is given back."""
    known = CallSession.objects.filter(pk=call_id).values_list("cost_microusd", flat=True).first()
    settle(call_id, known or 0, final=True)


def settle_late(call_id: UUID, total_microusd: int) -> None:
    """Count what a call has cost more than was settled when it seemed to be over."""
    if LedgerEntry.objects.filter(call_id=call_id, settled=True, spent_microusd__lt=total_microusd).exists():
        settle(call_id, total_microusd, final=True)


def settle_leftovers() -> int:
    """Settle each call that nobody carries any more. Return how many there were.

    One that has not ended is somebody's, or the reaper's: it settles the call when it has proof.
    """
    carried = Place.objects.filter(call_id=OuterRef("call_id"), lease_until__gt=Now())
    going_on = CallSession.objects.filter(pk=OuterRef("call_id")).exclude(state=CallSession.State.ENDED)
    left = LedgerEntry.objects.filter(~Exists(carried), ~Exists(going_on), settled=False)
    left = left.filter(opened_at__lt=Now() - LEFT_AFTER)
    call_ids = list(left.order_by("opened_at").values_list("call_id", flat=True)[:MAX_LEFTOVERS])
    for call_id in call_ids:
        settle_abandoned(call_id)
    return len(call_ids)


def _lock_periods(clinic: Clinic, day: dt.date) -> list[LedgerPeriod]:
    """Return the sums in which a call counts, locked in the order in which everybody locks them."""
    return list(LedgerPeriod.objects.of(clinic, day).order_by("pk").select_for_update())


def _count(periods: Sequence[LedgerPeriod], *, spent: int, reserved: int) -> None:
    """Change the sums as we hold them."""
    for period in periods:
        period.spent_microusd += spent
        period.reserved_microusd += reserved


def _store(periods: Sequence[LedgerPeriod], *, spent: int, reserved: int) -> None:
    """Change the sums as they are stored."""
    if spent or reserved:
        LedgerPeriod.objects.filter(pk__in=[period.pk for period in periods]).update(
            spent_microusd=F("spent_microusd") + spent, reserved_microusd=F("reserved_microusd") + reserved
        )


def _bounded(periods: Sequence[LedgerPeriod], clinic: Clinic) -> list[tuple[LedgerPeriod, int]]:
    """Return the periods that have a cap, each with it."""
    found = [(period, cap_of(clinic if period.clinic_id else None, period.kind)) for period in periods]
    return [(period, cap) for period, cap in found if cap is not None]


def _fits(periods: Sequence[LedgerPeriod], clinic: Clinic, wanted: int) -> bool:
    return all(
        period.spent_microusd + period.reserved_microusd + wanted <= cap for period, cap in _bounded(periods, clinic)
    )


def _standing(periods: Sequence[LedgerPeriod], clinic: Clinic, *, fits: bool, reserved: int) -> Standing:
    bounded = _bounded(periods, clinic)
    if not fits:
        spent_up = reserved == 0 or any(period.spent_microusd >= cap for period, cap in bounded)
        return Standing.MESSAGE if spent_up else Standing.TEXT_ONLY
    return Standing.WARN if any(period.spent_microusd >= WARN_SHARE * cap for period, cap in bounded) else Standing.OK


def _alert(periods: Sequence[LedgerPeriod], clinic: Clinic, *, lacking: int = 0) -> None:
    """Tell the staff, once for each period, that most of a cap is spent, and that `lacking` did not fit any more.

    A clinic's own cap is told by a task; the installation's concerns whoever reads its log.
    """
    for period, cap in _bounded(periods, clinic):
        refused = lacking > 0 and period.spent_microusd + period.reserved_microusd + lacking > cap
        if refused and period.refused_at is None:
            period.refused_at = period.warned_at = timezone.now()
            text = _("The %(cap)s set for calls in %(period)s are spent, or kept for calls under way: no call begins.")
        elif period.warned_at is None and period.spent_microusd >= WARN_SHARE * cap:
            period.warned_at = timezone.now()
            text = _("Most of the %(cap)s set for calls in %(period)s is spent. When all of it is, no call begins.")
        else:
            continue
        period.save(update_fields=["warned_at", "refused_at"])
        begins = f"{period.begins:%Y-%m-%d}" if period.kind == LedgerPeriod.Kind.DAY else f"{period.begins:%Y-%m}"
        if period.clinic_id is None:
            logger.warning("The installation's budget runs out", extra={"period": begins, "refused": refused})
            continue
        _tell(clinic, text % {"cap": f"${cap / 1_000_000:.2f}", "period": begins}, urgent=refused)


def _tell(clinic: Clinic, text: str, *, urgent: bool) -> None:
    priority = Task.Priority.URGENT if urgent else Task.Priority.NORMAL
    leave_task(clinic=clinic, kind=Task.Kind.ALERT, text=text, priority=priority)


class Ledger:
    """Settles the calls of one process, in a thread of its own: a call never waits for it."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(POOL_THREADS, thread_name_prefix="ledger")

    def account(self, call_id: UUID, estimate_microusd: int) -> Account:
        return Account(call_id, self._pool, step_microusd=int(estimate_microusd * SETTLED_SHARE))

    def close(self) -> None:
        """Let go of the thread, once what it does is done."""
        self._pool.shutdown()


class Account:
    """One call's cost, as it goes on: at most one settlement at a time, and the newest total next.

    What is kept back covers what is not settled yet. So a total is settled when it is `step_microusd` more than the
    last one that was, and each of them once the budget stands badly.
    """

    def __init__(self, call_id: UUID, pool: Executor, *, step_microusd: int = 0) -> None:
        self._call_id, self._pool = call_id, pool
        self._step = step_microusd
        self._total = self._settled = 0
        self._settling = False

    def spent(self, total_microusd: int) -> bool:
        """Take note of a new total. True when `settle` is to be run, in a task of the call's."""
        self._total = max(self._total, total_microusd)
        return not self._settling and self._total >= self._settled + self._step

    async def settle(self) -> AsyncIterator[Standing]:
        """Settle until nothing new is left, and tell how the budget stands after each time.

        What fails is settled with the next total, or at the end.
        """
        self._settling, settled = True, -1
        try:
            while settled < self._total:
                settled = self._total
                async with asyncio.timeout(SETTLE_S):
                    standing = await in_pool(self._pool, settle, self._call_id, settled)
                self._settled, self._step = settled, self._step if standing is Standing.OK else 0
                yield standing
        except Exception as error:
            logger.warning("A call could not be settled", extra=self._about(error))
        finally:
            self._settling = False

    async def close(self) -> None:
        """The call is over: what it has cost counts, the rest is given back. What fails is done by the next sweep."""
        try:
            async with asyncio.timeout(CLOSE_S):
                await in_pool(self._pool, partial(settle, self._call_id, self._total, final=True))
        except Exception as error:
            logger.warning("A call could not be settled", extra=self._about(error))

    def _about(self, error: Exception) -> dict[str, str]:
        return {"call": str(self._call_id), "error": type(error).__name__}
