"""Who is calling: two identifiers, three attempts, and no word to anybody else."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from agents_app.practice.models import LookupAttempt, Patient, Task
from tests.make import make_clinic
from tests.make_practice import make_context, make_patient, make_practice, recap_of, refused, run_tool

ANN: dict[str, Any] = {"first_name": "Ann", "last_name": "Lee", "date_of_birth": "1990-03-03"}


@pytest.mark.django_db
@pytest.mark.parametrize(
    "details",
    [
        ANN,
        {**ANN, "first_name": "ANN", "last_name": " lée "},
        {**ANN, "first_name": "", "last_name": "", "phone": "five four one five five five 1234"},
        {**ANN, "last_name": "Leigh", "first_name": "Anne", "phone": "541 555 1234"},
    ],
    ids=["name", "name otherwise written", "phone", "name misheard, phone"],
)
def test_patient_is_known_by_two_identifiers(details: dict[str, Any]) -> None:
    practice = make_practice()
    patient = make_patient(practice.clinic)
    for other in (make_clinic(), make_clinic()):
        make_patient(other)
    if details["last_name"] == "Leigh":
        patient.last_name = "Leig"
        patient.save()

    outcome = run_tool("find_patient", make_context(practice.clinic), **details)

    assert outcome.patient_id == patient.pk
    assert outcome.data == {"first_name": "Ann", "say": "Thank you, Ann."}
    assert (outcome.confidence is None) is (details["last_name"] != "Leigh")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "details",
    [
        {**ANN, "date_of_birth": "1990-03-04"},
        {**ANN, "last_name": "Leigh"},
        {**ANN, "first_name": "Bob", "phone": "(541) 555-1234", "last_name": "Brown"},
        {**ANN, "date_of_birth": "1991-03-03", "phone": "541 555 1234"},
    ],
    ids=["birth date", "name", "another name on the number", "name and phone without the date"],
)
def test_mismatch_tells_nothing_and_changes_no_record(details: dict[str, Any]) -> None:
    practice = make_practice()
    patient = make_patient(practice.clinic)
    before = Patient.objects.filter(pk=patient.pk).values().get()

    error = refused("find_patient", make_context(practice.clinic), **details)
    nobody = refused(
        "find_patient", make_context(practice.clinic), first_name="No", last_name="One", date_of_birth="1980-01-01"
    )

    assert (error.code, error.message, error.data) == (nobody.code, nobody.message, nobody.data)
    assert Patient.objects.filter(pk=patient.pk).values().get() == before


@pytest.mark.django_db
def test_wrong_birth_date_leaves_staff_one_task_that_names_nobody() -> None:
    practice = make_practice()
    patient, context = make_patient(practice.clinic), make_context(practice.clinic)

    for day in ("1990-03-04", "1990-03-05"):
        refused("find_patient", context, **{**ANN, "date_of_birth": day})

    task = Task.objects.get()
    assert (task.kind, task.patient, task.call_id) == ("check", patient, context.call_id)
    assert "Lee" not in task.text


@pytest.mark.django_db
def test_three_failed_lookups_lock_the_call_and_no_other() -> None:
    practice = make_practice()
    make_patient(practice.clinic)
    context = make_context(practice.clinic)

    codes = [refused("find_patient", context, **{**ANN, "first_name": name}).code for name in ("Al", "Bo", "Cy")]
    right = refused("find_patient", context, **ANN)
    registering = refused("register_patient", context, recap=True, **ANN, phone="541 555 1234")
    elsewhere = run_tool("find_patient", make_context(practice.clinic), **ANN)

    assert codes == ["patient_not_found"] * 3
    assert (right.code, registering.code) == ("too_many_attempts", "too_many_attempts")
    assert refused("register_patient", context, **ANN, phone="541 555 1234").code == "too_many_attempts"
    assert elsewhere.patient_id is not None


@pytest.mark.django_db
def test_family_on_one_number_is_told_apart_by_birth_date_and_twins_by_first_name() -> None:
    practice = make_practice()
    family = {
        name: make_patient(practice.clinic, first_name=name, date_of_birth=born)
        for name, born in (("Ann", date(1990, 3, 3)), ("Bob", date(2015, 5, 5)), ("Cid", date(2015, 5, 5)))
    }
    context = make_context(practice.clinic)
    phone: dict[str, Any] = {"first_name": "", "last_name": "", "phone": "541 555 1234"}

    ann = run_tool("find_patient", context, **phone, date_of_birth="1990-03-03")
    twins = refused("find_patient", context, **phone, date_of_birth="2015-05-05")
    cid = run_tool("find_patient", context, **{**phone, "first_name": "Cid"}, date_of_birth="2015-05-05")

    assert ann.patient_id == family["Ann"].pk
    assert (twins.code, twins.data) == ("several_patients", {"ask_for": ["first_name"]})
    assert cid.patient_id == family["Cid"].pk
    assert not LookupAttempt.objects.filter(matched=False).exists()


@pytest.mark.django_db
def test_lookup_without_name_and_phone_says_what_to_ask_and_costs_no_attempt() -> None:
    error = refused(
        "find_patient", make_context(make_clinic()), first_name="Ann", last_name="", date_of_birth="1990-03-03"
    )

    assert (error.code, error.data) == ("details_missing", {"ask_for": ["first_name", "last_name", "phone"]})
    assert not LookupAttempt.objects.exists()


@pytest.mark.django_db
def test_registration_is_read_back_and_written_once() -> None:
    practice = make_practice()
    context = make_context(practice.clinic)
    details = {**ANN, "phone": "(541) 555-1234", "email": "Ann@Example.org"}

    recap = recap_of("register_patient", context, **details)
    outcomes = [run_tool("register_patient", context, **details) for _ in range(2)]

    assert recap.question == (
        "I will register Ann Lee, born March 3, 1990, phone 541-555-1234, email ann@example.org. Shall I go ahead?"
    )
    assert all(piece in recap.question for piece in recap.spoken)
    assert recap.values == recap_of("register_patient", context, **{**details, "phone": "541.555.1234"}).values
    patient = Patient.objects.get()
    assert [outcome.patient_id for outcome in outcomes] == [patient.pk] * 2
    assert [outcome.data["new_patient"] for outcome in outcomes] == [True, False]
    assert (patient.clinic, patient.email, patient.source) == (practice.clinic, "ann@example.org", "call")


@pytest.mark.django_db
def test_registration_of_a_known_patient_changes_no_record_and_leaves_a_task() -> None:
    practice = make_practice()
    patient = make_patient(practice.clinic)

    outcome = run_tool("register_patient", make_context(practice.clinic), **ANN, phone="541 555 9999")

    patient.refresh_from_db()
    assert (outcome.patient_id, outcome.data["new_patient"]) == (patient.pk, False)
    assert patient.phone_digits == "15415551234"
    assert (Task.objects.get().patient, Patient.objects.count()) == (patient, 1)


@pytest.mark.django_db
def test_call_registers_three_and_no_more() -> None:
    context = make_context(make_clinic())

    for name in ("Ann", "Bob", "Cid"):
        run_tool("register_patient", context, **{**ANN, "first_name": name}, phone="541 555 1234")

    assert refused("register_patient", context, recap=True, **ANN, phone="541 555 1234").code == "too_many_attempts"
    assert refused("register_patient", context, **{**ANN, "first_name": "Dee"}, phone="541 555 1234").code == (
        "too_many_attempts"
    )
    assert Patient.objects.count() == 3


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("date_of_birth", "2026-11-24", "birth_date_wrong"),
        ("date_of_birth", "1890-01-01", "birth_date_wrong"),
        ("phone", "12", "phone_wrong"),
        ("first_name", "R2D2", "name_wrong"),
        ("email", "ann at home", "email_wrong"),
    ],
)
def test_registration_says_which_detail_to_ask_for_again(field: str, value: str, code: str) -> None:
    details = {**ANN, "phone": "541 555 1234", field: value}

    assert refused("register_patient", make_context(make_clinic()), recap=True, **details).code == code
