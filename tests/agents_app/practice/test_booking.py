"""The diary under its own rules, under a race, and under a database that fails. On SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from threading import Barrier, Thread
from typing import Any
from uuid import uuid4

import pytest
from django.db import DatabaseError, connection, connections
from django.db.models.signals import post_save
from django.test.utils import CaptureQueriesContext

from agents_app.practice import booking
from agents_app.practice.booking import By, book, cancel, plan, reschedule
from agents_app.practice.models import Appointment, AppointmentChange, AppointmentClaim, Patient, ProviderSchedule, Task
from agents_app.practice.models.diary import DoneBy
from agents_app.practice.slot_ids import SlotRef
from tests.make_practice import (
    NOW,
    Practice,
    make_appointment,
    make_closure,
    make_operatory,
    make_patient,
    make_practice,
    make_provider,
    make_visit_type,
)

MONDAY = date(2026, 11, 30)
STAFF = By()


@pytest.mark.django_db
def test_booking_makes_the_appointment_and_says_who_did() -> None:
    practice = make_practice()
    patient, by = make_patient(practice.clinic), By(kind=DoneBy.CALL, call_id=uuid4())

    row = book(practice.clinic, patient=patient, ref=practice.ref(MONDAY, 9), by=by, now=NOW)

    assert (row.starts, row.ends) == (practice.at(MONDAY, 9), practice.at(MONDAY, 10))
    assert (row.patient, row.provider, row.operatory_id) == (patient, practice.provider, practice.room.pk)
    assert (row.booked_by, row.booked_by_call) == ("call", by.call_id)
    change = row.changes.get()
    assert (change.kind, change.to_starts, change.call_id) == ("booked", row.starts, by.call_id)


@pytest.mark.django_db
def test_booking_sent_twice_in_a_call_is_one_appointment() -> None:
    practice = make_practice()
    patient, by = make_patient(practice.clinic), By(kind=DoneBy.CALL, call_id=uuid4())

    rows = [book(practice.clinic, patient=patient, ref=practice.ref(MONDAY, 9), by=by, now=NOW) for _ in range(2)]

    assert rows[0] == rows[1]
    assert Appointment.objects.count() == 1


@pytest.mark.django_db
def test_taken_slot_is_refused_with_the_next_ones() -> None:
    practice = make_practice()
    make_appointment(practice, make_patient(practice.clinic), practice.at(MONDAY, 9))
    other = make_patient(practice.clinic, first_name="Bob")

    with pytest.raises(booking.SlotTaken) as refused:
        book(practice.clinic, patient=other, ref=practice.ref(MONDAY, 9), by=STAFF, now=NOW)

    assert [slot.starts for slot in refused.value.next_slots] == [
        practice.at(MONDAY, 10),
        practice.at(MONDAY, 12),
        practice.at(MONDAY + timedelta(days=1), 9),
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("day", "hour"),
    [(date(2026, 11, 20), 9), (date(2027, 5, 3), 9), (date(2026, 11, 29), 9), (date(2026, 11, 26), 9), (MONDAY, 17)],
    ids=["past", "beyond the horizon", "closed weekday", "holiday", "after hours"],
)
def test_slot_outside_what_the_clinic_offers_is_refused(day: date, hour: int) -> None:
    practice = make_practice()
    make_closure(practice.clinic, date(2026, 11, 26))

    with pytest.raises(booking.SlotTaken):
        book(
            practice.clinic,
            patient=make_patient(practice.clinic),
            ref=practice.ref(day, hour),
            by=STAFF,
            now=NOW,
        )

    assert not Appointment.objects.exists()


@pytest.mark.django_db
def test_slot_of_another_clinic_does_not_exist() -> None:
    practice, theirs = make_practice(), make_practice()
    patient = make_patient(practice.clinic)
    refs = [
        theirs.ref(MONDAY, 9),
        SlotRef(practice.visit_type.pk, theirs.provider.pk, practice.at(MONDAY, 9)),
        SlotRef(theirs.visit_type.pk, practice.provider.pk, practice.at(MONDAY, 9)),
    ]

    for ref in refs:
        with pytest.raises(booking.SlotUnknown):
            book(practice.clinic, patient=patient, ref=ref, by=STAFF, now=NOW)


@pytest.mark.django_db
def test_room_taken_meanwhile_is_exchanged_for_another() -> None:
    practice = make_practice()
    spare = make_operatory(practice.clinic, name="Spare")
    practice.visit_type.operatories.add(spare)
    other = make_provider(practice.clinic)
    make_appointment(practice, make_patient(practice.clinic), practice.at(MONDAY, 9), provider=other)
    bob = make_patient(practice.clinic, first_name="Bob")

    row = book(practice.clinic, patient=bob, ref=practice.ref(MONDAY, 9), by=STAFF, now=NOW)

    assert row.operatory_id == spare.pk


@pytest.mark.django_db
def test_patient_is_not_booked_in_two_places_at_once() -> None:
    practice = make_practice()
    other, room = make_provider(practice.clinic), make_operatory(practice.clinic)
    practice.visit_type.providers.add(other)
    practice.visit_type.operatories.add(room)
    patient = make_patient(practice.clinic)
    make_appointment(practice, patient, practice.at(MONDAY, 9))

    with pytest.raises(booking.PatientBusy):
        plan(
            practice.clinic,
            patient=patient,
            ref=SlotRef(practice.visit_type.pk, other.pk, practice.at(MONDAY, 9, 30)),
            now=NOW,
        )


@pytest.mark.django_db
def test_move_frees_the_old_time_holds_the_new_and_keeps_length_and_history() -> None:
    practice = make_practice()
    patient = make_patient(practice.clinic)
    row = make_appointment(practice, patient, practice.at(MONDAY, 9), ends=practice.at(MONDAY, 9, 30))
    row.held_until = row.ends
    row.save()

    moved = reschedule(
        practice.clinic, patient=patient, appointment_id=row.pk, ref=practice.ref(MONDAY, 9, 15), by=STAFF, now=NOW
    )

    assert (moved.pk, moved.starts, moved.ends) == (row.pk, practice.at(MONDAY, 9, 15), practice.at(MONDAY, 9, 45))
    assert moved.provider == practice.provider
    claims = AppointmentClaim.objects.filter(provider=practice.provider).order_by("at")
    assert [claims[0].at, claims.last().at] == [practice.at(MONDAY, 9, 15), practice.at(MONDAY, 9, 40)]  # type: ignore[union-attr]  # there are six
    change = moved.changes.get()
    assert (change.kind, change.from_starts, change.to_starts) == ("moved", row.starts, moved.starts)


@pytest.mark.django_db
def test_move_that_fails_leaves_the_old_appointment_as_it_was() -> None:
    practice = make_practice()
    patient = make_patient(practice.clinic)
    row = make_appointment(practice, patient, practice.at(MONDAY, 9))
    make_appointment(practice, make_patient(practice.clinic, first_name="Bob"), practice.at(MONDAY, 11))

    with pytest.raises(booking.SlotTaken):
        reschedule(
            practice.clinic, patient=patient, appointment_id=row.pk, ref=practice.ref(MONDAY, 11), by=STAFF, now=NOW
        )

    row.refresh_from_db()
    assert (row.starts, row.status, row.claims.count()) == (practice.at(MONDAY, 9), "scheduled", 24)
    assert not AppointmentChange.objects.exists()


@pytest.mark.django_db
def test_move_to_another_kind_of_visit_is_refused() -> None:
    practice = make_practice()
    exam = make_visit_type(
        practice.clinic, name="Exam", minutes=20, providers=[practice.provider], operatories=[practice.room]
    )
    patient = make_patient(practice.clinic)
    row = make_appointment(practice, patient, practice.at(MONDAY, 9))

    with pytest.raises(booking.OtherVisit):
        plan(
            practice.clinic,
            patient=patient,
            ref=SlotRef(exam.pk, practice.provider.pk, practice.at(MONDAY, 11)),
            now=NOW,
            moving=row,
        )


@pytest.mark.django_db
@pytest.mark.parametrize(("hours", "kind"), [(23, "cancelled_late"), (25, "cancelled")])
def test_cancelling_frees_the_time_and_keeps_whether_it_was_late(hours: int, kind: str) -> None:
    practice = make_practice()
    patient = make_patient(practice.clinic)
    row = make_appointment(practice, patient, practice.at(MONDAY, 9))

    cancelled = cancel(
        practice.clinic, patient=patient, appointment_id=row.pk, by=STAFF, now=row.starts - timedelta(hours=hours)
    )

    assert (cancelled.status, cancelled.changes.get().kind) == ("cancelled", kind)
    assert not AppointmentClaim.objects.exists()


@pytest.mark.django_db
def test_appointment_of_somebody_else_past_or_cancelled_is_gone() -> None:
    practice, theirs = make_practice(), make_practice()
    patient, bob = make_patient(practice.clinic), make_patient(practice.clinic, first_name="Bob")
    rows = [
        make_appointment(practice, bob, practice.at(MONDAY, 9)),
        make_appointment(practice, patient, practice.at(date(2026, 11, 20), 9)),
        make_appointment(practice, patient, practice.at(MONDAY, 11), status="cancelled"),
        make_appointment(theirs, make_patient(theirs.clinic), practice.at(MONDAY, 9)),
    ]

    for row in rows:
        with pytest.raises(booking.AppointmentGone):
            cancel(practice.clinic, patient=patient, appointment_id=row.pk, by=STAFF, now=NOW)


@contextmanager
def failing(*, table: str, verb: str) -> Iterator[None]:
    """Let the database refuse the statements that begin with `verb` and name `table`."""

    def refuse(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith(verb) and f'"{table}"' in sql:
            raise DatabaseError("disk I/O error")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse):
        yield


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("table", "verb"), [("practice_closure", "SELECT"), ("practice_appointmentclaim", "INSERT")], ids=["check", "write"]
)
def test_nothing_is_booked_when_the_database_fails(table: str, verb: str) -> None:
    practice = make_practice()
    patient = make_patient(practice.clinic)

    with failing(table=table, verb=verb), pytest.raises(booking.DiaryUnavailable):
        book(practice.clinic, patient=patient, ref=practice.ref(MONDAY, 9), by=STAFF, now=NOW)

    assert not Appointment.objects.exists()


@pytest.mark.django_db
def test_row_that_reads_back_otherwise_is_told_and_flagged() -> None:
    practice = make_practice()
    patient, call_id = make_patient(practice.clinic), uuid4()

    def meddle(instance: Appointment, **kwargs: Any) -> None:
        Appointment.objects.filter(pk=instance.pk).update(status=Appointment.Status.COMPLETED)

    post_save.connect(meddle, sender=Appointment)
    try:
        with pytest.raises(booking.NotVerified):
            book(
                practice.clinic,
                patient=patient,
                ref=practice.ref(MONDAY, 9),
                by=By(kind=DoneBy.CALL, call_id=call_id),
                now=NOW,
            )
    finally:
        post_save.disconnect(meddle, sender=Appointment)

    task = Task.objects.get()
    assert (task.kind, task.call_id, task.patient) == ("check", call_id, patient)


@pytest.mark.django_db
def test_booking_takes_as_many_queries_in_a_full_diary_as_in_an_empty_one() -> None:
    practice = make_practice()

    def queries(ref: SlotRef, patient: Patient) -> int:
        with CaptureQueriesContext(connection) as captured:
            book(practice.clinic, patient=patient, ref=ref, by=STAFF, now=NOW)
        return len(captured)

    empty = queries(practice.ref(MONDAY, 9), make_patient(practice.clinic))
    for hour in (10, 11, 12):
        make_appointment(practice, make_patient(practice.clinic, first_name="A" * hour), practice.at(MONDAY, hour))
        ProviderSchedule.objects.create(provider=practice.provider, on_date=MONDAY, starts=f"{hour}:00", ends="17:00")
        make_closure(practice.clinic, date(2026, 12, hour))
    full = queries(practice.ref(MONDAY, 13), make_patient(practice.clinic, first_name="Bob"))

    assert full == empty


@pytest.mark.django_db
def test_claim_that_the_engine_did_not_see_still_refuses_the_booking() -> None:
    practice = make_practice()
    row = make_appointment(practice, make_patient(practice.clinic), practice.at(MONDAY, 9))
    AppointmentClaim.objects.create(appointment=row, provider=practice.provider, at=practice.at(MONDAY, 14, 55))
    bob = make_patient(practice.clinic, first_name="Bob")

    with pytest.raises(booking.SlotTaken):
        book(practice.clinic, patient=bob, ref=practice.ref(MONDAY, 14), by=STAFF, now=NOW)

    assert list(Appointment.objects.all()) == [row]
    assert AppointmentClaim.objects.count() == 25


def race(practice: Practice, attempts: list[tuple[Patient, SlotRef]]) -> list[Any]:
    """Book at the same moment in as many threads; return each outcome: a row, or the refusal."""
    barrier = Barrier(len(attempts))
    outcomes: list[Any] = [None] * len(attempts)

    def run(place: int, patient: Patient, ref: SlotRef) -> None:
        barrier.wait(timeout=10)
        try:
            outcomes[place] = book(practice.clinic, patient=patient, ref=ref, by=STAFF, now=NOW)
        except booking.BookingError as error:
            outcomes[place] = error
        finally:
            connections.close_all()

    threads = [Thread(target=run, args=(place, *attempt)) for place, attempt in enumerate(attempts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return outcomes


@pytest.mark.django_db(transaction=True)
def test_race_for_a_slot_lets_one_through_and_offers_the_other_the_next() -> None:
    practice = make_practice()
    patients = [make_patient(practice.clinic, first_name=name) for name in ("Ann", "Bob")]

    outcomes = race(practice, [(patient, practice.ref(MONDAY, 9)) for patient in patients])

    booked = [row for row in outcomes if isinstance(row, Appointment)]
    refused = [error for error in outcomes if isinstance(error, booking.SlotTaken)]
    assert (len(booked), len(refused)) == (1, 1)
    assert refused[0].next_slots[0].starts == practice.at(MONDAY, 10)
    assert list(Appointment.objects.all()) == booked


@pytest.mark.django_db(transaction=True)
def test_race_for_the_last_room_lets_one_through() -> None:
    practice = make_practice()
    other = make_provider(practice.clinic)
    practice.visit_type.providers.add(other)
    patients = [make_patient(practice.clinic, first_name=name) for name in ("Ann", "Bob", "Cid", "Dee")]
    refs = [SlotRef(practice.visit_type.pk, who.pk, practice.at(MONDAY, 9)) for who in (practice.provider, other)]

    outcomes = race(practice, list(zip(patients, refs * 2, strict=True)))

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Appointment"] + ["SlotTaken"] * 3
    assert Appointment.objects.count() == 1
