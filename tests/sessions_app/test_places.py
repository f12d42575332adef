"""Places: as many calls at once as the clinic has said, whoever asks when, and back when a holder dies."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.db.models.functions import Now

from agents_app.models import Clinic
from sessions_app.models import Place
from sessions_app.models.places import LEASE_SECONDS
from tests.make import make_clinic
from tests.sessions_app.test_client_secrets import at_once


def take(clinic: Clinic, times: int) -> list[bool]:
    return [Place.objects.take(clinic, uuid4()) for _ in range(times)]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("round_", range(3))
def test_of_30_calls_at_once_exactly_5_find_a_place(round_):
    clinic = make_clinic(max_concurrent_calls=5)

    found = at_once(lambda _: Place.objects.take(clinic, uuid4()), 30)

    assert Counter(found) == {True: 5, False: 25}
    assert Place.objects.filter(clinic=clinic).exclude(call_id=None).count() == 5


@pytest.mark.django_db(transaction=True)
def test_place_given_back_goes_to_one_of_those_who_wait():
    clinic = make_clinic(max_concurrent_calls=5)
    holder = uuid4()
    Place.objects.take(clinic, holder)
    take(clinic, 4)
    Place.objects.release(holder)

    found = at_once(lambda _: Place.objects.take(clinic, uuid4()), 30)

    assert Counter(found) == {True: 1, False: 29}


@pytest.mark.django_db(transaction=True)
def test_calls_that_come_and_go_at_once_never_hold_more_than_there_are():
    clinic = make_clinic(max_concurrent_calls=5)

    def come_and_go(_: int) -> int:
        call_id = uuid4()
        held = 0
        if Place.objects.take(clinic, call_id):
            held = Place.objects.filter(clinic=clinic, lease_until__gt=Now()).count()
            Place.objects.release(call_id)
        return held

    held = at_once(come_and_go, 60)

    assert max(held) <= 5
    assert Counter(take(clinic, 6)) == {True: 5, False: 1}


@pytest.mark.django_db
def test_place_of_a_holder_that_died_is_free_when_its_lease_has_run_out():
    clinic = make_clinic(max_concurrent_calls=1)
    take(clinic, 1)
    before = take(clinic, 1)
    Place.objects.update(lease_until=Now() - timedelta(seconds=1))

    after = take(clinic, 2)

    assert (before, after) == ([False], [True, False])


@pytest.mark.django_db
def test_lease_runs_30_seconds_and_is_renewed_for_the_calls_named():
    clinic = make_clinic(max_concurrent_calls=2)
    mine, other = uuid4(), uuid4()
    Place.objects.take(clinic, mine)
    Place.objects.take(clinic, other)
    Place.objects.update(lease_until=Now() + timedelta(seconds=1))

    renewed = Place.objects.renew([mine, uuid4()])

    soon = Place.objects.filter(lease_until__lt=Now() + timedelta(seconds=2)).values_list("call_id", flat=True)
    assert (LEASE_SECONDS, renewed, list(soon)) == (30, 1, [other])


@pytest.mark.django_db
def test_holder_whose_place_went_to_another_takes_nothing_back_with_it():
    clinic = make_clinic(max_concurrent_calls=1)
    late, next_one = uuid4(), uuid4()
    Place.objects.take(clinic, late)
    Place.objects.update(lease_until=Now() - timedelta(seconds=1))
    Place.objects.take(clinic, next_one)

    changed = (Place.objects.renew([late]), Place.objects.release(late))

    assert changed == (0, 0)
    assert take(clinic, 1) == [False]


@pytest.mark.django_db
def test_clinic_does_not_take_the_places_of_another():
    mine, other = make_clinic(max_concurrent_calls=1), make_clinic(max_concurrent_calls=1)

    found = take(mine, 3)

    assert (found, take(other, 1)) == ([True, False, False], [True])


@pytest.mark.django_db
def test_fewer_places_hold_at_once_for_new_calls_and_more_are_there_at_once():
    clinic = make_clinic(max_concurrent_calls=3)
    take(clinic, 2)

    clinic.max_concurrent_calls = 1
    fewer = take(clinic, 1)
    clinic.max_concurrent_calls = 5
    more = take(clinic, 4)

    assert (fewer, more) == ([False], [True, True, True, False])


@pytest.mark.django_db
def test_looking_for_a_free_place_takes_none():
    clinic = make_clinic(max_concurrent_calls=1)

    seen = [Place.objects.any_free(clinic) for _ in range(3)]

    assert seen == [True, True, True]
    assert (take(clinic, 1), Place.objects.any_free(clinic)) == ([True], False)


@pytest.mark.django_db
def test_release_of_a_call_that_holds_nothing_changes_nothing():
    clinic = make_clinic(max_concurrent_calls=1)
    take(clinic, 1)

    assert Place.objects.release(UUID(int=0)) == 0
    assert Place.objects.any_free(clinic) is False
