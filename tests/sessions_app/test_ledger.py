from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from agents_app.models import Clinic
from agents_app.practice.models import Task
from sessions_app import cost, ledger
from sessions_app.addresses import AddressDigests
from sessions_app.call.budget import Standing
from sessions_app.ledger import Account, reserve, settle, settle_abandoned, settle_late, settle_leftovers
from sessions_app.models import LedgerEntry, LedgerPeriod, Place, Price
from tests.make import make_agent, make_clinic, make_user
from tests.make_calls import make_call
from tests.sessions_app.test_client_secrets import at_once

CENT = 10_000  # millionths of a US dollar
ESTIMATE = 20 * CENT


def begin(clinic: Clinic, estimate: int = ESTIMATE) -> UUID | None:
    call_id = uuid4()
    return call_id if reserve(clinic, call_id, estimate) else None


def begun(clinic: Clinic, estimate: int = ESTIMATE) -> UUID:
    call_id = begin(clinic, estimate)
    assert call_id is not None
    return call_id


def sums(clinic: Clinic | None, kind: str = "day") -> tuple[int, int]:
    """What is spent, and what is reserved."""
    [found] = LedgerPeriod.objects.filter(clinic=clinic, kind=kind).values_list("spent_microusd", "reserved_microusd")
    return found


@pytest.mark.django_db
def test_call_counts_in_its_day_and_month_of_clinic_and_installation():
    clinic, other = make_clinic(), make_clinic()

    settle(begun(clinic), 3 * CENT, final=True)
    settle(begun(other), 4 * CENT)

    assert [sums(clinic, "day"), sums(clinic, "month")] == [(3 * CENT, 0)] * 2
    assert [sums(other, "day"), sums(other, "month")] == [(4 * CENT, ESTIMATE)] * 2
    assert [sums(None, "day"), sums(None, "month")] == [(7 * CENT, ESTIMATE)] * 2


@pytest.mark.django_db
def test_day_is_the_clinics_own_and_a_call_keeps_the_one_on_which_it_began(monkeypatch):
    midnight = dt.datetime(2026, 11, 1, 5, 30, tzinfo=dt.UTC)  # half past one in New York, half past ten in Honolulu
    monkeypatch.setattr(timezone, "now", lambda: midnight)
    east, west = make_clinic(timezone="America/New_York"), make_clinic(timezone="Pacific/Honolulu")
    calls = [begun(east), begun(west)]
    monkeypatch.setattr(timezone, "now", lambda: midnight + timedelta(days=1))

    for call_id in calls:
        settle(call_id, CENT, final=True)

    rows = LedgerPeriod.objects.exclude(spent_microusd=0).order_by("clinic", "kind")
    found = {(row.clinic_id, row.kind, row.begins.isoformat()): row.spent_microusd for row in rows}
    assert found == {
        (east.pk, "day", "2026-11-01"): CENT,
        (east.pk, "month", "2026-11-01"): CENT,
        (west.pk, "day", "2026-10-31"): CENT,
        (west.pk, "month", "2026-10-01"): CENT,
        (None, "day", "2026-11-01"): CENT,
        (None, "month", "2026-11-01"): CENT,
        (None, "day", "2026-10-31"): CENT,
        (None, "month", "2026-10-01"): CENT,
    }


@pytest.mark.django_db
@pytest.mark.parametrize("cap", ["daily_cap_usd", "monthly_cap_usd"])
def test_call_that_does_not_fit_below_the_clinics_cap_is_refused_and_keeps_nothing_back(cap):
    clinic, other = make_clinic(**{cap: Decimal("0.50")}), make_clinic()

    found = [begin(clinic) is not None for _ in range(3)]

    assert found == [True, True, False]
    assert sums(clinic) == (0, 2 * ESTIMATE)
    assert LedgerEntry.objects.filter(clinic=clinic).count() == 2
    assert begin(other) is not None


@pytest.mark.django_db
@pytest.mark.parametrize("cap", ["DAILY_CAP_USD", "MONTHLY_CAP_USD"])
def test_cap_of_the_installation_counts_the_calls_of_all_clinics(settings, cap):
    setattr(settings, cap, Decimal("0.50"))
    clinic, other = make_clinic(), make_clinic(daily_cap_usd=Decimal(100))

    found = [begin(clinic) is not None, begin(other) is not None, begin(clinic) is not None, begin(other) is not None]

    assert found == [True, True, False, False]


@pytest.mark.django_db
def test_greatest_total_counts_however_often_and_in_whatever_order_totals_come():
    clinic = make_clinic()
    call_id = begun(clinic)

    for total in (5, 2, 9, 9, 4):
        settle(call_id, total * CENT)

    assert sums(clinic) == (9 * CENT, ESTIMATE)
    settle(call_id, 7 * CENT, final=True)
    settle(call_id, 7 * CENT, final=True)
    assert sums(clinic) == (9 * CENT, 0)
    settle(call_id, 10 * CENT)  # the last words were transcribed after the end
    assert sums(clinic) == (10 * CENT, 0)


@pytest.mark.django_db
def test_standing_worsens_as_the_cap_comes_near():
    clinic = make_clinic(daily_cap_usd=Decimal("1.00"))
    call_id = begun(clinic)

    standings = [settle(call_id, cents * CENT) for cents in (10, 79, 80, 81, 95, 100, 101)]

    # From 81 cents on the 20 that were kept back do not fit again; from 100 on there is nothing.
    assert standings == [
        Standing.OK, Standing.OK, Standing.WARN, Standing.TEXT_ONLY, Standing.TEXT_ONLY, Standing.MESSAGE,
        Standing.MESSAGE,
    ]  # fmt: skip
    assert sums(clinic) == (101 * CENT, 0)


@pytest.mark.django_db
def test_call_that_used_up_what_was_kept_for_it_takes_nothing_of_what_is_kept_for_others():
    clinic = make_clinic(daily_cap_usd=Decimal("1.00"))
    calls = [begun(clinic) for _ in range(5)]

    standings = [settle(calls[0], cents * CENT) for cents in (10, 20)]

    assert standings == [Standing.TEXT_ONLY, Standing.MESSAGE]
    assert sums(clinic) == (20 * CENT, 4 * ESTIMATE)


@pytest.mark.django_db
def test_without_a_cap_a_call_stands_well_whatever_it_costs():
    call_id = begun(make_clinic())

    assert settle(call_id, 10**12) is Standing.OK


@pytest.mark.django_db
def test_cap_that_is_raised_during_a_call_holds_for_it():
    clinic = make_clinic(daily_cap_usd=Decimal("0.20"))
    call_id = begun(clinic)
    before = settle(call_id, 20 * CENT)
    Clinic.objects.filter(pk=clinic.pk).update(daily_cap_usd=Decimal("20.00"))

    assert (before, settle(call_id, 21 * CENT)) == (Standing.MESSAGE, Standing.OK)


@pytest.mark.django_db
def test_total_of_a_call_that_was_never_opened_changes_nothing():
    assert settle(uuid4(), CENT) is Standing.OK
    assert LedgerPeriod.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_of_50_calls_at_once_those_begin_that_fit_and_all_that_they_spend_is_counted():
    clinic = make_clinic(daily_cap_usd=Decimal("2.10"))

    begun_calls = [call_id for call_id in at_once(lambda _: begin(clinic), 50) if call_id is not None]
    at_once(lambda n: [settle(begun_calls[n], total * CENT) for total in (4, 8, 12)], len(begun_calls))

    assert len(begun_calls) == 10
    spent, reserved = sums(clinic)
    assert spent == 120 * CENT
    assert 80 * CENT <= reserved <= 90 * CENT
    at_once(lambda n: settle(begun_calls[n], 20 * CENT, final=True), len(begun_calls))
    assert sums(clinic) == sums(None) == (200 * CENT, 0)


@pytest.mark.django_db(transaction=True)
def test_totals_of_one_call_from_many_threads_count_once():
    clinic = make_clinic()
    call_id = begun(clinic)

    at_once(lambda n: settle(call_id, n % 10 * CENT, final=n == 30), 60)

    assert sums(clinic) == (9 * CENT, 0)


@pytest.mark.django_db
def test_staff_is_told_once_a_period_that_the_cap_is_near_and_that_calls_are_refused():
    clinic, other = make_clinic(daily_cap_usd=Decimal("1.00")), make_clinic()
    call_id = begun(clinic)

    for cents in (80, 85, 90, 100):
        settle(call_id, cents * CENT)
    assert [begin(clinic), begin(clinic)] == [None, None]

    tasks = Task.objects.filter(clinic=clinic).order_by("pk")
    assert [(task.kind, task.priority) for task in tasks] == [("alert", "normal"), ("alert", "urgent")]
    assert "$1.00" in tasks[0].text
    assert str(timezone.now().astimezone(clinic.zone).date()) in tasks[1].text
    assert not Task.objects.filter(clinic=other).exists()


@pytest.mark.django_db
def test_cap_of_the_installation_is_told_in_the_log_and_to_no_clinic(settings, caplog):
    settings.DAILY_CAP_USD = Decimal("0.10")

    assert [begin(make_clinic()), begin(make_clinic())] == [None, None]

    assert [record.message for record in caplog.records] == ["The installation's budget runs out"]
    assert not Task.objects.exists()


def carried(clinic: Clinic, call_id: UUID) -> None:
    assert Place.objects.take(make_agent(clinic), call_id, AddressDigests())


@pytest.mark.django_db
def test_calls_that_nobody_carries_any_more_give_back_what_was_kept_for_them():
    clinic = make_clinic()
    ended = make_call(clinic=clinic, cost_microusd=7 * CENT)
    assert reserve(clinic, ended.pk, ESTIMATE)
    lost, live, young = begun(clinic), begun(clinic), begun(clinic)
    settle(lost, 2 * CENT)
    carried(clinic, live)
    LedgerEntry.objects.exclude(call_id=young).update(opened_at=Now() - timedelta(seconds=61))

    assert settle_leftovers() == 2

    assert dict(LedgerEntry.objects.values_list("call_id", "settled")) == {
        ended.pk: True, lost: True, live: False, young: False,
    }  # fmt: skip
    assert sums(clinic) == (9 * CENT, 2 * ESTIMATE)
    assert settle_leftovers() == 0


@pytest.mark.django_db
def test_living_call_whose_place_lapsed_is_not_settled_behind_its_back():
    clinic = make_clinic()
    call = make_call(clinic=clinic, state="live")
    assert reserve(clinic, call.pk, ESTIMATE)
    LedgerEntry.objects.update(opened_at=Now() - timedelta(seconds=61))

    assert settle_leftovers() == 0
    assert sums(clinic) == (0, ESTIMATE)


@pytest.mark.django_db
def test_end_that_came_late_counts_what_the_call_had_cost_more():
    clinic = make_clinic()
    call_id = begun(clinic)

    settle_late(call_id, 6 * CENT)  # not settled yet: whoever carries it does that
    before = sums(clinic)
    settle(call_id, 5 * CENT, final=True)
    settle_late(call_id, 6 * CENT)
    settle_late(call_id, 4 * CENT)

    assert (before, sums(clinic)) == ((0, ESTIMATE), (6 * CENT, 0))


@pytest.mark.django_db
def test_abandoned_call_costs_what_was_known_last():
    clinic = make_clinic()
    call_id = begun(clinic)
    settle(call_id, 5 * CENT)

    settle_abandoned(call_id)
    settle_abandoned(call_id)

    assert sums(clinic) == (5 * CENT, 0)


def test_estimate_is_two_minutes_at_the_models_price():
    dear = Price(
        text_in=4, text_cached=Decimal("0.4"), text_out=24, audio_in=32, audio_cached=Decimal("0.4"), audio_out=64
    )
    transcription = Price(**dict.fromkeys(cost.TOKEN_KINDS, 0), audio_minute=Decimal("0.017"))

    assert (ledger.estimate(dear, None), ledger.estimate(dear, transcription)) == (224_400, 241_400)


class Settling:
    """Stands for `settle`: what was settled, and a gate before each."""

    def __init__(self) -> None:
        self.totals: list[tuple[int, bool]] = []
        self.fails = 0
        self.standing = Standing.WARN

    def __call__(self, call_id: UUID, total: int, *, final: bool = False) -> Standing:
        if self.fails:
            self.fails -= 1
            raise DatabaseError("text of a caller")
        self.totals.append((total, final))
        return self.standing


@pytest.fixture
def settling(monkeypatch: pytest.MonkeyPatch) -> Settling:
    fake = Settling()
    monkeypatch.setattr(ledger, "settle", fake)  # what it does with rows is tested above
    return fake


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_totals_that_come_while_one_is_settled_are_settled_as_the_newest_one(settling, pool):
    account = Account(uuid4(), pool)
    wanted: list[bool] = []

    async def spend() -> None:
        wanted.append(account.spent(1))
        async for _ in account.settle():
            if len(settling.totals) == 1:
                wanted.extend(account.spent(total) for total in (2, 5, 3))
        wanted.append(account.spent(6))
        await account.close()

    asyncio.run(spend())

    assert wanted == [True, False, False, False, True]
    assert settling.totals == [(1, False), (5, False), (6, True)]


def test_what_is_kept_back_covers_small_totals_until_the_budget_stands_badly(settling, pool):
    account = Account(uuid4(), pool, step_microusd=10)

    async def spend(total: int) -> bool:
        due = account.spent(total)
        if due:
            assert [standing async for standing in account.settle()]
        return due

    settling.standing = Standing.OK
    well = [asyncio.run(spend(total)) for total in (9, 10, 19, 20)]
    settling.standing = Standing.WARN
    badly = [asyncio.run(spend(total)) for total in (29, 30, 31, 32)]

    assert (well, badly) == ([False, True, False, True], [False, True, True, True])
    assert [total for total, _ in settling.totals] == [10, 20, 30, 31, 32]


def test_total_that_could_not_be_settled_is_settled_with_the_next(settling, pool, caplog):
    account = Account(uuid4(), pool)
    settling.fails = 1

    async def spend(total: int) -> list[Standing]:
        assert account.spent(total)
        return [standing async for standing in account.settle()]

    standings = [asyncio.run(spend(1)), asyncio.run(spend(2))]

    assert (standings, settling.totals) == ([[], [Standing.WARN]], [(2, False)])
    assert "text of a caller" not in caplog.text


class Money(RuleBasedStateMachine):
    """The sums beside a model of them: each call's total, and what is kept back for it."""

    @initialize()
    def begin(self) -> None:
        LedgerEntry.objects.all().delete()
        LedgerPeriod.objects.all().delete()
        self.caps = [100 * CENT, 70 * CENT]
        self.clinics = [
            make_clinic(daily_cap_usd=Decimal("1.00")),
            make_clinic(daily_cap_usd=Decimal("0.70"), monthly_cap_usd=Decimal("5.00")),
        ]
        self.calls: dict[UUID, list[Any]] = {}  # clinic, spent, reserved, open

    def _sum(self, n: int, column: int) -> int:
        return sum(call[column] for call in self.calls.values() if call[0] == n)

    def _fits(self, n: int, more: int) -> bool:
        return self._sum(n, 1) + self._sum(n, 2) + more <= self.caps[n]

    @rule(n=st.integers(0, 1))
    def open(self, n: int) -> None:
        fits = self._fits(n, ESTIMATE)
        call_id = begin(self.clinics[n])

        assert (call_id is not None) is fits
        if call_id is not None:
            self.calls[call_id] = [n, 0, ESTIMATE, True]

    @rule(data=st.data(), total=st.integers(0, 40 * CENT), final=st.booleans())
    def settle(self, data: st.DataObject, total: int, final: bool) -> None:
        if not self.calls:
            return
        call_id = data.draw(st.sampled_from(list(self.calls)))
        call = self.calls[call_id]
        more = max(0, total - call[1])
        call[1] += more
        call[2] = max(0, call[2] - more)
        call[3] = call[3] and not final
        if not call[3]:
            call[2] = 0
        elif self._fits(call[0], ESTIMATE - call[2]):
            call[2] = ESTIMATE

        standing = settle(call_id, total, final=final)

        if call[3]:
            assert (standing <= Standing.WARN) is (call[2] == ESTIMATE)
            assert (standing is Standing.MESSAGE) is (
                call[2] < ESTIMATE and (call[2] == 0 or self._sum(call[0], 1) >= self.caps[call[0]])
            )

    @rule()
    def sweep(self) -> None:
        LedgerEntry.objects.update(opened_at=Now() - timedelta(minutes=5))
        assert settle_leftovers() == sum(call[3] for call in self.calls.values())
        for call in self.calls.values():
            call[2:] = [0, False]

    @invariant()
    def sums_are_the_models(self) -> None:
        expected: Counter[tuple[int, str]] = Counter()
        for call in self.calls.values():
            expected.update({(call[0], "spent"): call[1], (call[0], "reserved"): call[2]})
        for n, clinic in enumerate(getattr(self, "clinics", ())):
            for kind in ("day", "month"):
                rows = LedgerPeriod.objects.filter(clinic=clinic, kind=kind)
                found = [(row.spent_microusd, row.reserved_microusd) for row in rows] or [(0, 0)]
                assert found == [(expected[n, "spent"], expected[n, "reserved"])]


@pytest.mark.django_db
def test_sums_are_what_a_model_of_them_says_whatever_happens():
    run_state_machine_as_test(
        Money, settings=hypothesis_settings(max_examples=15, stateful_step_count=25, deadline=None)
    )


@pytest.mark.django_db
def test_manager_reads_what_its_clinics_calls_cost_and_the_administrator_what_all_do(client):
    mine, other = make_clinic(name="Clinic Mine", daily_cap_usd=Decimal("1.00")), make_clinic(name="Clinic Foreign")
    settle(begun(mine), 12 * CENT)
    begun(other)
    address = reverse("admin:sessions_app_ledgerperiod_changelist")

    def rows(user: User) -> list[tuple[str, int]]:
        client.force_login(user)
        page = client.get(address)
        assert page.status_code == 200
        return sorted((row.kind, row.clinic_id or 0) for row in page.context["cl"].result_list)

    kinds = ("day", "month")
    assert rows(make_user(mine)) == [(kind, mine.pk) for kind in kinds]
    assert "0.12" in client.get(address).content.decode()
    assert rows(make_user(is_superuser=True)) == sorted((kind, pk) for kind in kinds for pk in (0, mine.pk, other.pk))
    whole = LedgerPeriod.objects.get(clinic=None, kind="day")
    assert client.get(reverse("admin:sessions_app_ledgerperiod_change", args=(whole.pk,))).status_code == 200
    client.force_login(make_user(mine))
    assert client.get(reverse("admin:sessions_app_ledgerperiod_change", args=(whole.pk,))).status_code == 404
    client.force_login(make_user(mine, role="reviewer"))
    assert client.get(address).status_code == 403
