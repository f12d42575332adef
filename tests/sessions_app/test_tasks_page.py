from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from agents_app.models import Clinic
from agents_app.practice.models import Task
from tests.make import make_clinic, make_user
from tests.make_calls import make_call, make_patient

pytestmark = pytest.mark.django_db


def make_task(clinic: Clinic, **fields: object) -> Task:
    return Task.objects.create(
        clinic=clinic, **{"kind": Task.Kind.CALLBACK, "text": "Please call back.", "phone": "+1 541 555 0142", **fields}
    )


@pytest.fixture
def clinic() -> Clinic:
    return make_clinic(name="Barton Dental")


@pytest.fixture
def staff(clinic: Clinic, client: Client) -> Client:
    client.force_login(make_user(clinic, username="maya"))
    return client


def listed(response) -> list[Task]:
    return [task for task, _reference in response.context["tasks"]]


def test_open_tasks_are_listed_urgent_first_then_longest_waiting(clinic, staff):
    late, early, urgent = (make_task(clinic, priority=priority) for priority in ("normal", "normal", "urgent"))
    Task.objects.filter(pk=early.pk).update(created_at=timezone.now() - timedelta(hours=3))
    make_task(clinic, status=Task.Status.DONE)

    response = staff.get("/tasks/")

    assert listed(response) == [urgent, early, late]


def test_tasks_can_be_narrowed_to_a_kind_and_to_those_done(clinic, staff):
    make_task(clinic)
    check = make_task(clinic, kind=Task.Kind.CHECK)
    done = make_task(clinic, kind=Task.Kind.CHECK, status=Task.Status.DONE, done_at=timezone.now())

    assert listed(staff.get("/tasks/?kind=check")) == [check]
    assert listed(staff.get("/tasks/?status=done")) == [done]
    assert listed(staff.get("/tasks/?kind=nonsense&page=999"))[-1] == check


def test_a_task_shows_who_what_when_and_how_to_reach_them(clinic, staff):
    patient = make_patient(clinic)
    make_task(clinic, caller_name="Maria Santos", patient=patient, text="About my crown.")

    page = staff.get("/tasks/").content.decode()

    for part in ("Maria Santos", patient.reference, "About my crown.", 'href="tel:+15415550142"', "EST"):
        assert part in page


def test_a_task_links_its_call_only_where_the_reader_may_open_it(clinic, staff):
    call, elsewhere = make_call(clinic), make_call(make_clinic())
    for call_id in (call.pk, elsewhere.pk, uuid.uuid4(), None):
        make_task(clinic, call_id=call_id)

    response = staff.get("/tasks/")

    assert [reference for _task, reference in response.context["tasks"]] == [call.reference, None, None, None]
    assert response.content.decode().count('href="/calls/') == 2  # the navigation's, and this one


def test_done_ticks_a_task_off_and_says_who_did(clinic, staff):
    task = make_task(clinic)

    response = staff.post(f"/tasks/{task.pk}/done/")

    assert response.headers["Location"] == "/tasks/"
    ticked = Task.objects.filter(pk=task.pk, done_at__isnull=False).values_list("status", "done_by__username")
    assert list(ticked) == [("done", "maya")]


def test_of_two_who_tick_a_task_off_the_first_ones_name_stands(clinic, staff):
    first = make_user(clinic)
    at = timezone.now() - timedelta(minutes=5)
    task = make_task(clinic, status=Task.Status.DONE, done_by=first, done_at=at)

    staff.post(f"/tasks/{task.pk}/done/")

    task.refresh_from_db()
    assert (task.done_by, task.done_at) == (first, at)


def test_another_clinics_tasks_do_not_exist(staff):
    task = make_task(make_clinic(), caller_name="Somebody Else")

    assert listed(staff.get("/tasks/")) == []
    assert staff.post(f"/tasks/{task.pk}/done/").status_code == 404
    assert staff.post("/tasks/99999999/done/").status_code == 404
    assert Task.objects.get().status == Task.Status.OPEN


def test_somebody_of_no_clinic_sees_no_task_and_is_told_what_to_do(clinic, client):
    make_task(clinic)
    client.force_login(make_user())

    page = client.get("/tasks/").content.decode()

    assert "You do not belong to a clinic yet" in page
    assert "Please call back." not in page


def test_nobody_is_let_in_without_a_login(clinic, client):
    task = make_task(clinic)

    assert client.get("/tasks/").headers["Location"] == "/login/?next=/tasks/"
    assert client.post(f"/tasks/{task.pk}/done/").headers["Location"] == f"/login/?next=/tasks/{task.pk}/done/"
    assert Task.objects.get().status == Task.Status.OPEN


def test_methods_that_are_not_meant_are_refused(clinic, staff):
    task = make_task(clinic)

    assert [staff.generic(method, "/tasks/").status_code for method in ("POST", "PUT", "DELETE")] == [405] * 3
    assert [staff.generic(method, f"/tasks/{task.pk}/done/").status_code for method in ("GET", "PUT")] == [405] * 2


def test_ticking_off_needs_the_pages_own_token(clinic):
    task = make_task(clinic)
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(make_user(clinic))

    assert strict.post(f"/tasks/{task.pk}/done/").status_code == 403
    assert Task.objects.get().status == Task.Status.OPEN


def test_the_list_takes_as_many_queries_for_three_rows_as_for_one(clinic, staff, django_assert_num_queries):
    def add() -> None:
        make_task(clinic, call_id=make_call(clinic).pk, patient=make_patient(clinic))

    add()
    with django_assert_num_queries(5):
        staff.get("/tasks/")
    add()
    add()

    with django_assert_num_queries(5):
        response = staff.get("/tasks/")

    assert len(listed(response)) == 3


def test_a_page_holds_twenty_five_tasks_and_keeps_its_filter(clinic, staff):
    for _ in range(26):
        make_task(clinic)

    first, second = staff.get("/tasks/?kind=callback"), staff.get("/tasks/?kind=callback&page=2")

    assert (len(listed(first)), len(listed(second))) == (25, 1)
    assert 'href="?kind=callback&amp;page=2"' in first.content.decode()


def test_what_a_caller_left_is_text_and_never_markup(clinic, staff):
    payload = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'"
    make_task(clinic, caller_name=payload, phone=payload[:40], text=payload)

    page = staff.get("/tasks/").content.decode()

    assert "<script>alert" not in page
    assert "<img" not in page
