from __future__ import annotations

from datetime import date, timedelta
from uuid import uuid4

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction

from agents_app.data_classes import DataClass, data_class
from agents_app.practice.booking import By, book, reschedule
from agents_app.practice.models import (
    Appointment,
    AppointmentClaim,
    Closure,
    Operatory,
    Patient,
    Provider,
    ProviderSchedule,
    Task,
    VisitType,
)
from agents_app.practice.normal import name_key
from agents_app.practice.tasks import leave_task
from tests.make import make_clinic, make_user
from tests.make_practice import (
    NOW,
    make_appointment,
    make_closure,
    make_patient,
    make_practice,
    make_provider,
    make_task,
    make_visit_type,
)

MONDAY = date(2026, 11, 30)


@pytest.mark.parametrize("model", list(apps.get_app_config("practice").get_models()), ids=lambda model: model.__name__)
def test_every_field_has_a_data_class(model: type[models.Model]) -> None:
    fields = [*model._meta.local_fields, *model._meta.local_many_to_many]

    assert all(isinstance(data_class(model, field.name), DataClass) for field in fields)


@pytest.mark.django_db
def test_rows_are_named_by_their_reference() -> None:
    practice = make_practice()
    patient = make_patient(practice.clinic)
    appointment = make_appointment(practice, patient, practice.at(MONDAY, 9))
    task = make_task(practice.clinic, caller_name="Ann Lee")

    names = [str(patient), str(appointment), str(task), str(appointment.claims.all()[0])[:2]]

    assert names == [f"P-{patient.pk:06d}", f"A-{appointment.pk:06d}", f"T-{task.pk:06d}", "C-"]


@pytest.mark.django_db
def test_rows_of_another_clinic_do_not_exist_for_its_staff() -> None:
    ours, theirs = make_practice(), make_practice()
    for practice in (ours, theirs):
        make_appointment(practice, make_patient(practice.clinic), practice.at(MONDAY, 9))
        make_closure(practice.clinic, MONDAY)
        make_task(practice.clinic)
    user, stranger = make_user(ours.clinic), make_user()

    managers = (Patient, Provider, Operatory, VisitType, Closure, Appointment, Task)
    seen = [{row.clinic_id for row in model.objects.visible_to(user)} for model in managers]
    schedules = {row.provider.clinic_id for row in ProviderSchedule.objects.visible_to(user)}

    assert seen == [{ours.clinic.pk}] * len(managers)
    assert schedules == {ours.clinic.pk}
    assert not any(model.objects.visible_to(stranger).exists() for model in managers)


@pytest.mark.django_db
def test_appointment_claims_each_five_minutes_of_provider_and_room_with_the_buffer() -> None:
    practice = make_practice()
    visit_type = make_visit_type(practice.clinic, name="Exam", minutes=20, buffer_minutes=10)
    starts = practice.at(MONDAY, 9)

    make_appointment(practice, make_patient(practice.clinic), starts, visit_type=visit_type)

    steps = [starts + timedelta(minutes=5 * n) for n in range(6)]
    assert list(AppointmentClaim.objects.filter(provider=practice.provider).values_list("at", flat=True)) == steps
    assert list(AppointmentClaim.objects.filter(operatory=practice.room).values_list("at", flat=True)) == steps


@pytest.mark.django_db
def test_database_refuses_a_second_claim_and_leaves_the_first_appointment() -> None:
    practice = make_practice()
    patient, other = make_patient(practice.clinic), make_patient(practice.clinic, first_name="Bob")
    first = make_appointment(practice, patient, practice.at(MONDAY, 9))

    with pytest.raises(IntegrityError), transaction.atomic():
        make_appointment(practice, other, practice.at(MONDAY, 9, 55))

    assert list(Appointment.objects.all()) == [first]
    assert AppointmentClaim.objects.count() == 24


@pytest.mark.django_db
def test_database_refuses_a_room_taken_by_another_provider() -> None:
    practice = make_practice()
    patient = make_patient(practice.clinic)
    make_appointment(practice, patient, practice.at(MONDAY, 9))

    with pytest.raises(IntegrityError), transaction.atomic():
        make_appointment(practice, patient, practice.at(MONDAY, 9), provider=make_provider(practice.clinic))


@pytest.mark.django_db
def test_cancelled_appointment_frees_its_time_and_cannot_take_it_back() -> None:
    practice = make_practice()
    patient = make_patient(practice.clinic)
    first = make_appointment(practice, patient, practice.at(MONDAY, 9))

    first.status = Appointment.Status.CANCELLED
    first.save()
    make_appointment(practice, patient, practice.at(MONDAY, 9))
    first.status = Appointment.Status.SCHEDULED

    with pytest.raises(IntegrityError), transaction.atomic():
        first.save(update_fields=["status"])


@pytest.mark.django_db
def test_form_refuses_what_the_database_would_refuse() -> None:
    practice, other = make_practice(), make_practice()
    patient = make_patient(practice.clinic)
    held = make_appointment(practice, patient, practice.at(MONDAY, 9))

    def complaint(**fields: object) -> list[str]:
        row = Appointment(
            **{
                "clinic": practice.clinic,
                "patient": patient,
                "provider": practice.provider,
                "operatory": practice.room,
                "visit_type": practice.visit_type,
                "starts": practice.at(MONDAY, 10),
                "ends": practice.at(MONDAY, 11),
                **fields,
            }
        )
        try:
            row.clean()
        except ValidationError as error:
            return error.messages
        return []

    assert complaint() == []
    assert complaint(starts=practice.at(MONDAY, 9, 55)) == ["The provider or the room is taken at this time."]
    assert complaint(patient=make_patient(other.clinic)) == [
        "Patient, provider, room and visit type must be of the same clinic."
    ]
    assert complaint(starts=practice.at(MONDAY, 10) + timedelta(minutes=2)) == [
        "Appointments begin and end at a multiple of five minutes."
    ]
    held.clean()


@pytest.mark.django_db
def test_patient_is_registered_once_however_it_is_written() -> None:
    clinic = make_clinic()
    make_patient(clinic, first_name="José", phone="541 555 1234")

    with pytest.raises(IntegrityError), transaction.atomic():
        make_patient(clinic, first_name="JOSE", phone="+1 (541) 555-1234")

    assert make_patient(make_clinic(), first_name="Jose").phone_digits == "15415551234"


@pytest.mark.django_db
def test_patient_saved_in_part_keeps_its_keys_true() -> None:
    patient = make_patient(make_clinic())

    patient.last_name, patient.phone = "Smith", "541 555 9999"
    patient.save(update_fields=["last_name", "phone"])

    patient.refresh_from_db()
    assert (patient.name_key, patient.phone_digits) == ("annsmith", "15415559999")


@pytest.mark.django_db
def test_patient_named_anew_in_part_has_the_key_of_the_name_that_stands() -> None:
    patient = make_patient(make_clinic())
    Patient.objects.filter(pk=patient.pk).update(last_name="Berg", name_key="annberg")

    patient.first_name = "Eve"
    patient.save(update_fields=["first_name"])

    patient.refresh_from_db()
    assert patient.name_key == name_key(patient.first_name, patient.last_name)


@pytest.mark.django_db
def test_schedule_is_of_a_weekday_or_of_a_date() -> None:
    provider = make_provider(make_clinic(), shifts=[])

    with pytest.raises(IntegrityError), transaction.atomic():
        ProviderSchedule.objects.create(provider=provider, starts="09:00", ends="10:00")
    with pytest.raises(IntegrityError), transaction.atomic():
        ProviderSchedule.objects.create(provider=provider, weekday=0, on_date=MONDAY, starts="09:00", ends="10:00")


@pytest.mark.django_db
def test_same_task_left_twice_in_a_call_is_one_task() -> None:
    clinic = make_clinic()
    call_id = uuid4()

    tasks = [leave_task(clinic=clinic, kind="message", text="Call me", call_id=call_id, name="Ann") for _ in range(2)]
    another = leave_task(clinic=clinic, kind="message", text="x" * 5000, call_id=call_id, name="Ann")

    assert tasks[0] == tasks[1] != another
    assert len(another.text) == 1000


@pytest.mark.django_db
def test_patient_with_appointments_stays_and_a_clinic_goes_with_all_its_rows() -> None:
    practice, theirs = make_practice(), make_practice()
    for each in (practice, theirs):
        patient = make_patient(each.clinic)
        ref = each.ref(MONDAY, 9)
        row = book(each.clinic, patient=patient, ref=ref, by=By(), now=NOW)
        reschedule(each.clinic, patient=patient, appointment_id=row.pk, ref=each.ref(MONDAY, 10), by=By(), now=NOW)

    with pytest.raises(models.RestrictedError):
        patient.delete()
    practice.clinic.delete()

    left = (Patient, Provider, Operatory, VisitType, Appointment)
    assert [{row.clinic_id for row in model.objects.all()} for model in left] == [{theirs.clinic.pk}] * len(left)


@pytest.mark.django_db
def test_appointment_moved_by_hand_takes_its_buffer_with_it() -> None:
    practice = make_practice()
    exam = make_visit_type(practice.clinic, name="Exam", minutes=20, buffer_minutes=10)
    patient = make_patient(practice.clinic)
    row = make_appointment(practice, patient, practice.at(MONDAY, 15), visit_type=exam, held_until=None)
    created = row.held_until

    row.starts, row.ends = practice.at(MONDAY, 9), practice.at(MONDAY, 9, 30)
    row.clean()
    row.save()

    assert created == practice.at(MONDAY, 15, 30)
    assert row.held_until == practice.at(MONDAY, 9, 40)
    assert row.claims.count() == 2 * 8
