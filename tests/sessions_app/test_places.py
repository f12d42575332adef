from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db.models.functions import Now
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from agents_app.models import Agent
from sessions_app.addresses import AddressDigests
from sessions_app.models import Place
from sessions_app.models.calls import LEASE_SECONDS
from tests.make import make_agent, make_clinic
from tests.make_calls import make_call
from tests.sessions_app.test_client_secrets import at_once


def an_agent(**clinic: Any) -> Agent:
    return make_agent(make_clinic(**clinic))


def take(agent: Agent, times: int, address: str = "") -> list[bool]:
    return [Place.objects.take(agent, uuid4(), AddressDigests.of(address)) for _ in range(times)]


def let_leases_run_out() -> None:
    Place.objects.update(lease_until=Now() - timedelta(seconds=1))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("round_", range(3))
def test_of_30_calls_at_once_exactly_5_find_a_place(round_):
    agent = an_agent(max_concurrent_calls=5)

    found = at_once(lambda _: Place.objects.take(agent, uuid4()), 30)

    assert Counter(found) == {True: 5, False: 25}
    assert Place.objects.filter(clinic=agent.clinic).count() == 5


@pytest.mark.django_db(transaction=True)
def test_of_1000_calls_exactly_5_find_a_place():
    agent = an_agent(max_concurrent_calls=5)

    found = at_once(lambda _: take(agent, 25), 40)

    assert Counter(one for of_a_thread in found for one in of_a_thread) == {True: 5, False: 995}


@pytest.mark.django_db(transaction=True)
def test_of_40_calls_at_once_each_bound_is_met_exactly_and_a_refused_call_takes_nothing():
    clinic = make_clinic(max_concurrent_calls=30, max_calls_per_address=2, max_calls_per_network=5)
    lexi, max_ = make_agent(clinic, max_concurrent_calls=3), make_agent(clinic)
    # Four addresses of one network: at most 2 each and 5 together, at most 3 of them for Lexi.
    callers = [AddressDigests.of(f"192.0.2.{n}") for n in range(4)]

    at_once(lambda n: Place.objects.take((lexi, max_)[n % 2], uuid4(), callers[n // 2 % 4]), 40)

    held = list(Place.objects.values_list("agent_id", "address_digest", "network_digest"))
    assert len(held) == 5
    assert len({network for _, _, network in held}) == 1
    assert max(Counter(address for _, address, _ in held).values()) == 2
    assert Counter(agent for agent, _, _ in held)[lexi.pk] <= 3
    assert take(max_, 3, "198.51.100.1") == [True, True, False]


@pytest.mark.django_db(transaction=True)
def test_place_given_back_goes_to_one_of_those_who_wait():
    agent = an_agent(max_concurrent_calls=5)
    holder = uuid4()
    Place.objects.take(agent, holder)
    take(agent, 4)
    Place.objects.release(holder)

    found = at_once(lambda _: Place.objects.take(agent, uuid4()), 30)

    assert Counter(found) == {True: 1, False: 29}


@pytest.mark.django_db(transaction=True)
def test_calls_that_come_and_go_at_once_never_hold_more_than_there_are():
    agent = an_agent(max_concurrent_calls=5)

    def come_and_go(_: int) -> int:
        call_id = uuid4()
        held = 0
        if Place.objects.take(agent, call_id):
            held = Place.objects.filter(clinic=agent.clinic, lease_until__gt=Now()).count()
            Place.objects.release(call_id)
        return held

    held = at_once(come_and_go, 60)

    assert max(held) <= 5
    assert Counter(take(agent, 6)) == {True: 5, False: 1}


@pytest.mark.django_db
def test_place_of_a_holder_that_died_is_free_when_its_lease_has_run_out():
    agent = an_agent(max_concurrent_calls=1)
    take(agent, 1)
    before = take(agent, 1)
    let_leases_run_out()

    after = take(agent, 2)

    assert (before, after) == ([False], [True, False])
    assert Place.objects.count() == 1


@pytest.mark.django_db
def test_lease_runs_30_seconds_and_is_renewed_for_the_calls_named():
    agent = an_agent(max_concurrent_calls=2)
    mine, other = uuid4(), uuid4()
    Place.objects.take(agent, mine)
    Place.objects.take(agent, other)
    Place.objects.update(lease_until=Now() + timedelta(seconds=1))

    renewed = Place.objects.renew([mine, uuid4()])

    soon = Place.objects.filter(lease_until__lt=Now() + timedelta(seconds=2)).values_list("call_id", flat=True)
    assert (LEASE_SECONDS, renewed, list(soon)) == (30, 1, [other])


@pytest.mark.django_db
def test_call_that_goes_on_has_its_place_again_also_beyond_the_bounds():
    agent = an_agent(max_concurrent_calls=1)
    call, over = make_call(agent.clinic, agent=agent, state="live"), make_call(agent.clinic, agent=agent)
    Place.objects.take(agent, call.pk)
    let_leases_run_out()
    Place.objects.take(agent, uuid4())  # an outage was longer than the lease, and somebody was faster

    renewed = Place.objects.renew([call.pk, over.pk])
    Place.objects.restore([call.pk, over.pk])
    Place.objects.restore([call.pk, over.pk])

    assert (renewed, Place.objects.filter(call_id=call.pk, clinic=agent.clinic, agent=agent).count()) == (0, 1)
    assert Place.objects.count() == 2
    assert Place.objects.any_free(agent) is False


@pytest.mark.django_db
def test_holder_whose_place_went_to_another_takes_nothing_back_with_it():
    agent = an_agent(max_concurrent_calls=1)
    late, next_one = uuid4(), uuid4()
    Place.objects.take(agent, late)
    let_leases_run_out()
    Place.objects.take(agent, next_one)

    changed = (Place.objects.renew([late]), Place.objects.release(late))

    assert changed == (0, 0)
    assert take(agent, 1) == [False]


@pytest.mark.django_db
def test_clinic_does_not_take_the_places_of_another():
    mine, other = an_agent(max_concurrent_calls=1), an_agent(max_concurrent_calls=1)

    found = take(mine, 3, "192.0.2.1")

    assert (found, take(other, 1, "192.0.2.1")) == ([True, False, False], [True])


@pytest.mark.django_db
def test_fewer_places_hold_at_once_for_new_calls_and_more_are_there_at_once():
    agent = an_agent(max_concurrent_calls=3)
    take(agent, 2)

    agent.clinic.max_concurrent_calls = 1
    agent.clinic.save()
    fewer = take(agent, 1)
    agent.clinic.max_concurrent_calls = 5
    agent.clinic.save()
    more = take(agent, 4)

    assert (fewer, more) == ([False], [True, True, True, False])


@pytest.mark.django_db
def test_looking_for_a_free_place_takes_none():
    agent = an_agent(max_concurrent_calls=1)

    seen = [Place.objects.any_free(agent) for _ in range(3)]

    assert seen == [True, True, True]
    assert (take(agent, 1), Place.objects.any_free(agent)) == ([True], False)


@pytest.mark.django_db
def test_release_of_a_call_that_holds_nothing_changes_nothing():
    agent = an_agent(max_concurrent_calls=1)
    take(agent, 1)

    assert Place.objects.release(UUID(int=0)) == 0
    assert Place.objects.any_free(agent) is False


@pytest.mark.django_db
def test_caller_without_an_address_is_bound_by_the_lines_alone():
    agent = an_agent(max_concurrent_calls=4, max_calls_per_address=1, max_calls_per_network=1)

    assert take(agent, 5) == [True, True, True, True, False]


@pytest.mark.parametrize(
    ("one", "other", "same_address", "same_network"),
    [
        ("192.0.2.1", "192.0.2.1", True, True),
        ("192.0.2.1", "192.0.2.200", False, True),
        ("192.0.2.1", "192.0.3.1", False, False),
        ("192.0.2.1", "::ffff:192.0.2.1", True, True),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True, True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False, True),
        ("2001:db8:1:2::1", "2001:db8:2:2::1", False, False),
        ("fe80::1%eth0", "fe80::1", True, True),
        ("no address", "no address", True, True),
        ("no address", "another", False, False),
    ],
)
def test_addresses_of_one_host_and_of_one_network_are_counted_together(one, other, same_address, same_network):
    first, second = AddressDigests.of(one), AddressDigests.of(other)

    assert (first.address == second.address, first.network == second.network) == (same_address, same_network)
    assert one not in first.address + first.network


ADDRESSES = ("", "192.0.2.1", "192.0.2.2", "198.51.100.1", "2001:db8::1", "2001:db8:0:1::1")


class Places(RuleBasedStateMachine):
    """The rows beside a model of them: who holds a place, and whether the lease has run out."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[UUID, tuple[int, AddressDigests]] = {}

    @initialize()
    def begin(self) -> None:
        Place.objects.all().delete()
        self.clinics = [
            make_clinic(max_concurrent_calls=4, max_calls_per_address=2, max_calls_per_network=3),
            make_clinic(max_concurrent_calls=2, max_calls_per_address=1, max_calls_per_network=1),
        ]
        self.agents = [
            make_agent(self.clinics[0], max_concurrent_calls=2),
            make_agent(self.clinics[0]),
            make_agent(self.clinics[1]),
        ]

    def _fits(self, n: int, caller: AddressDigests) -> bool:
        agent = self.agents[n]
        clinic = agent.clinic
        near = [(m, other) for m, other in self.held.values() if self.agents[m].clinic_id == clinic.pk]
        return (
            len(near) < clinic.max_concurrent_calls
            and sum(m == n for m, _ in near) < (agent.max_concurrent_calls or 99)
            and (not caller.address or sum(o.address == caller.address for _, o in near) < clinic.max_calls_per_address)
            and (not caller.network or sum(o.network == caller.network for _, o in near) < clinic.max_calls_per_network)
        )

    @rule(n=st.integers(0, 2), address=st.sampled_from(ADDRESSES))
    def take(self, n: int, address: str) -> None:
        call_id, caller = uuid4(), AddressDigests.of(address)
        fits = self._fits(n, caller)

        assert Place.objects.any_free(self.agents[n], caller) is fits
        assert Place.objects.take(self.agents[n], call_id, caller) is fits
        if fits:
            self.held[call_id] = (n, caller)

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        if self.held:
            call_id = data.draw(st.sampled_from(list(self.held)))
            assert Place.objects.release(call_id) == 1
            del self.held[call_id]

    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        if self.held:
            call_id = data.draw(st.sampled_from(list(self.held)))
            Place.objects.filter(call_id=call_id).update(lease_until=Now() - timedelta(seconds=1))
            del self.held[call_id]

    @rule()
    def beat(self) -> None:
        assert Place.objects.renew(self.held) == len(self.held)

    @invariant()
    def rows_are_the_model(self) -> None:
        live = Place.objects.filter(lease_until__gt=Now()).values_list("call_id", flat=True)
        assert set(live) == set(self.held)


@pytest.mark.django_db
def test_places_are_what_a_model_of_them_says_whatever_happens():
    run_state_machine_as_test(
        Places, settings=hypothesis_settings(max_examples=15, stateful_step_count=25, deadline=None)
    )
