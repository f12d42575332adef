"""Every page of the admin, walked from its registry: another clinic's row exists nowhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import ForeignKey, ManyToManyField, Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from agents_app.admin.scoping import ClinicScopedAdmin, PlatformAdmin
from agents_app.admin.sealed_search import SealedSearch
from agents_app.models import (
    Agent,
    ApiToken,
    Clinic,
    ClinicGroup,
    Guardrail,
    Membership,
    RealtimeModel,
    Voice,
    VoiceService,
)
from agents_app.practice.models import (
    Appointment,
    Closure,
    Operatory,
    Patient,
    Provider,
    ProviderSchedule,
    Task,
    VisitType,
)
from agents_app.publishing import publish
from sessions_app.models import CallSession, CallView, Item, LedgerPeriod, Price, ToolCall
from tests.make import make_agent, make_clinic, make_user

pytestmark = pytest.mark.django_db

OUR_APPS = {"agents_app", "practice", "sessions_app"}
PLATFORM_ONLY: set[type[Model]] = {ClinicGroup, RealtimeModel, Voice, VoiceService, Price, User}
REGISTERED = {
    model: page for model, page in admin.site._registry.items() if model._meta.app_label in OUR_APPS | {"auth"}
}
SCOPED = [model for model, page in REGISTERED.items() if isinstance(page, ClinicScopedAdmin)]


def by_name(models: set[type[Model]]) -> list[type[Model]]:
    return sorted(models, key=lambda model: model.__name__)


STARTS = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)


def silent(text: str, *, voice: str, key: str) -> bytes | None:
    return None


def populate(clinic: Clinic, mark: str) -> dict[type[Model], Model]:
    """One row of every registered model of `clinic`, each with `mark` in whatever people read of it."""
    agent = make_agent(clinic, name=f"Agent {mark}")
    Guardrail.objects.create(agent=agent, name=f"Rail {mark}", phrases="chest pain", line="Call 911.")
    version = publish(agent, None, speak=silent)
    provider = Provider.objects.create(clinic=clinic, name=f"Dr. {mark}")
    room = Operatory.objects.create(clinic=clinic, name=f"Room {mark}")
    ProviderSchedule.objects.create(provider=provider, weekday=0, starts="09:00", ends="17:00", operatory=room)
    visit_type = VisitType.objects.create(clinic=clinic, name=f"Visit {mark}", minutes=30)
    visit_type.providers.add(provider)
    visit_type.operatories.add(room)
    patient = Patient.objects.create(
        clinic=clinic, first_name=mark, last_name="Doe", date_of_birth=date(1990, 1, 1), phone="+1 206 555 0111"
    )
    appointment = Appointment.objects.create(
        clinic=clinic, patient=patient, provider=provider, operatory=room, visit_type=visit_type,
        starts=STARTS, ends=STARTS + timedelta(minutes=30),
    )  # fmt: skip
    call = CallSession.objects.create(clinic=clinic, version=version, started_at=STARTS, channel="web", state="ended")
    Item.objects.create(
        session=call, item_id="item_1", position=1, speaker="caller", source="text", text=mark, started_ms=0
    )
    ToolCall.objects.create(session=call, call_id="call_1", position=1, name="look", started_ms=0)
    closure = Closure.objects.create(
        clinic=clinic, provider=provider, starts=STARTS, ends=STARTS + timedelta(days=1), reason=mark
    )
    user = make_user(clinic, username=f"user-{mark}")
    return {
        Clinic: clinic,
        Agent: agent,
        ApiToken: ApiToken.issue(clinic=clinic, name=f"Token {mark}")[0],
        Membership: Membership.objects.get(user=user),
        Provider: provider,
        Operatory: room,
        VisitType: visit_type,
        Patient: patient,
        Appointment: appointment,
        Closure: closure,
        Task: Task.objects.create(clinic=clinic, kind="message", text=mark, caller_name=mark, patient=patient),
        CallSession: call,
        LedgerPeriod: LedgerPeriod.objects.create(clinic=clinic, kind="day", begins=STARTS.date()),
    }  # fmt: skip


@pytest.fixture
def mine() -> dict[type[Model], Model]:
    return populate(make_clinic(name="Clinic Mine"), "Mine")


@pytest.fixture
def others() -> dict[type[Model], Model]:
    return populate(make_clinic(name="Clinic Foreign"), "Foreign")


def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def manager(mine: dict[type[Model], Model]) -> Client:
    clinic = mine[Clinic]
    assert isinstance(clinic, Clinic)
    return logged_in(make_user(clinic))


@pytest.fixture
def reviewer(mine: dict[type[Model], Model]) -> Client:
    clinic = mine[Clinic]
    assert isinstance(clinic, Clinic)
    return logged_in(make_user(clinic, role=Membership.Role.REVIEWER))


@pytest.fixture
def platform() -> Client:
    return logged_in(make_user(is_superuser=True))


def address(row: Model | type[Model], page: str) -> str:
    args = (row.pk,) if isinstance(row, Model) else ()
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{page}", args=args)


def test_every_registered_model_is_scoped_or_named_as_the_platforms():
    kinds = {
        model: ClinicScopedAdmin if isinstance(page, ClinicScopedAdmin) else type(page)
        for model, page in REGISTERED.items()
    }

    assert {model for model, kind in kinds.items() if kind is not ClinicScopedAdmin} == PLATFORM_ONLY
    assert [model for model in PLATFORM_ONLY if not isinstance(REGISTERED[model], PlatformAdmin)] == []


def test_fixture_has_a_row_of_every_scoped_model(mine: dict[type[Model], Model]):
    assert set(mine) == set(SCOPED)


@pytest.mark.parametrize("model", SCOPED, ids=lambda model: model.__name__)
@pytest.mark.parametrize("page", ["change", "history", "delete"])
def test_page_of_another_clinics_row_is_that_of_a_missing_row(
    page: str, model: type[Model], manager: Client, others: dict[type[Model], Model]
):
    foreign = manager.get(address(others[model], page))
    posted = manager.post(address(others[model], page), {"post": "yes"})
    others[model].pk = 987654 if model is not CallSession else "00000000-0000-4000-8000-000000000000"
    missing = manager.get(address(others[model], page))

    assert (foreign.status_code, posted.status_code, missing.status_code) == (404, 404, 404)


@pytest.mark.parametrize("model", SCOPED, ids=lambda model: model.__name__)
def test_own_row_opens_and_no_page_knows_the_other_clinic(
    model: type[Model], manager: Client, mine: dict[type[Model], Model], others: dict[type[Model], Model]
):
    pages = [manager.get(address(mine[model], "change")), manager.get(address(mine[model], "history"))]
    pages.append(manager.get(address(model, "changelist")))

    assert [page.status_code for page in pages] == [200, 200, 200]
    assert [page.request["PATH_INFO"] for page in pages if "Foreign" in page.content.decode()] == []


def searched(client: Client, model: type[Model], words: str) -> Any:
    """What the page of the model answers to whoever types `words` into its search box."""
    path = address(model, "changelist")
    if isinstance(REGISTERED[model], SealedSearch):
        return client.post(path, {"q": words}, follow=True)
    return client.get(path, {"q": words})


@pytest.mark.parametrize("model", SCOPED, ids=lambda model: model.__name__)
def test_list_search_and_filters_find_own_rows_only(
    model: type[Model], manager: Client, mine: dict[type[Model], Model], others: dict[type[Model], Model]
):
    listed = manager.get(address(model, "changelist")).context["cl"].result_list
    found = searched(manager, model, "Foreign").context["cl"].result_list

    assert mine[model] in listed
    assert others[model] not in listed
    assert others[model] not in found


def test_every_list_with_patient_data_is_searched_without_a_trace():
    pages = [page for page in REGISTERED.values() if isinstance(page, ClinicScopedAdmin) and page.patient_data]

    assert pages != []
    assert [page for page in pages if page.search_fields and not isinstance(page, SealedSearch)] == []


def test_searched_name_finds_the_patient_and_stands_in_no_address(manager: Client, mine: dict[type[Model], Model]):
    patient = Patient.objects.create(
        clinic_id=mine[Clinic].pk, first_name="Wilhelmina", last_name="Berg", date_of_birth=date(1990, 1, 1)
    )
    path = address(Patient, "changelist")

    answer = manager.post(f"{path}?source__exact=staff&p=3", {"q": " Wilhelmina "})
    page = manager.get(answer["Location"])

    links = re.findall(r'(?:href|action)="([^"]*)"', page.content.decode())
    assert answer["Location"].startswith(f"{path}?source__exact=staff&q=")
    assert [link for link in (answer["Location"], *links) if "wilhelmina" in link.lower()] == []
    assert [link for link in links if "q=" in link] != []  # orders and filters keep the words
    assert list(page.context["cl"].result_list) == [patient]
    assert 'value="Wilhelmina"' in page.content.decode()
    assert manager.post(answer["Location"], {"q": ""})["Location"] == f"{path}?source__exact=staff"


def test_words_in_the_open_or_sealed_by_a_colleague_search_for_nothing(
    manager: Client, reviewer: Client, mine: dict[type[Model], Model]
):
    path = address(Patient, "changelist")
    colleagues = reviewer.post(path, {"q": "nobody"})["Location"]

    pages = [manager.get(asked) for asked in (f"{path}?q=nobody", colleagues, f"{path}?q=%00")]

    assert [page.context["cl"].query for page in pages] == [""] * 3
    assert [list(page.context["cl"].result_list) for page in pages] == [[mine[Patient]]] * 3
    assert list(reviewer.get(colleagues).context["cl"].result_list) == []


def test_words_without_end_or_with_a_nul_are_cut(manager: Client, mine: dict[type[Model], Model]):
    found = searched(manager, Patient, "\x00Mine").context["cl"].result_list
    answer = manager.post(address(Patient, "changelist"), {"q": "x" * 50_000})

    assert list(found) == [mine[Patient]]
    assert len(answer["Location"]) < 1_000


def choices_of(response: Any) -> Iterator[Model]:
    """Every row that any choice of the page's forms, inlines included, would offer."""
    forms = [response.context["adminform"].form]
    forms += [
        form
        for inline in response.context["inline_admin_formsets"]
        for form in [*inline.formset, inline.formset.empty_form]
    ]
    for form in forms:
        for field in form.fields.values():
            if getattr(field, "queryset", None) is not None:
                yield from field.queryset


@pytest.mark.parametrize("model", SCOPED, ids=lambda model: model.__name__)
def test_no_form_offers_another_clinics_row(
    model: type[Model], manager: Client, mine: dict[type[Model], Model], others: dict[type[Model], Model]
):
    foreign = set(others.values())
    pages = [manager.get(address(mine[model], "change"))]
    if REGISTERED[model].has_add_permission(pages[0].wsgi_request):
        pages.append(manager.get(address(model, "add")))

    offered = {row for page in pages if page.status_code == 200 for row in choices_of(page)}

    assert offered & foreign == set()


def relations() -> list[tuple[type[Model], str]]:
    fields = [(model, field) for model in SCOPED for field in (*model._meta.fields, *model._meta.many_to_many)]
    return [(model, field.name) for model, field in fields if isinstance(field, ForeignKey | ManyToManyField)]


@pytest.mark.parametrize(("model", "field"), relations(), ids=lambda part: getattr(part, "__name__", part))
def test_autocomplete_offers_nothing_of_another_clinic(
    model: type[Model], field: str, manager: Client, mine: dict[type[Model], Model], others: dict[type[Model], Model]
):
    query = {"app_label": model._meta.app_label, "model_name": model._meta.model_name, "field_name": field, "term": ""}

    response = manager.get(reverse("admin:autocomplete") + "?" + urlencode(query))

    assert response.status_code in (200, 403)
    assert "Foreign" not in response.content.decode()


@pytest.mark.parametrize("model", [*SCOPED, *by_name(PLATFORM_ONLY)], ids=lambda model: model.__name__)
def test_list_takes_as_many_queries_for_three_rows_as_for_one(model: type[Model], platform: Client):
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            platform.get(address(model, "changelist"))
        return len(queries)

    clinic = make_clinic(name="Clinic 1")
    Membership.objects.create(user=User.objects.get(is_superuser=True), clinic=clinic, role="manager")
    populate(clinic, "One")
    count()
    with_one = count()
    for number in ("Two", "Three"):
        again = make_clinic(name=f"Clinic {number}")
        Membership.objects.create(user=User.objects.get(is_superuser=True), clinic=again, role="manager")
        populate(again, number)

    assert count() == with_one


@pytest.mark.parametrize("model", [Agent, CallSession], ids=lambda model: model.__name__)
def test_list_leaves_what_was_published_in_the_database(
    model: type[Model], manager: Client, mine: dict[type[Model], Model]
):
    with CaptureQueriesContext(connection) as queries:
        listed = manager.get(address(model, "changelist")).context["cl"].result_list

    assert list(listed) == [mine[model]]
    assert [query for query in queries.captured_queries if '."content"' in query["sql"]] == []


@pytest.mark.parametrize("model", by_name(PLATFORM_ONLY), ids=lambda model: model.__name__)
def test_rows_of_the_installation_are_closed_to_managers(model: type[Model], manager: Client, platform: Client):
    pages = ("changelist", "add")

    assert [manager.get(address(model, page)).status_code for page in pages] == [403, 403]
    assert [platform.get(address(model, page)).status_code for page in pages] == [200, 200]


def test_reviewer_reads_the_practice_works_on_tasks_and_knows_no_settings(
    reviewer: Client, mine: dict[type[Model], Model]
):
    opened = {model: reviewer.get(address(mine[model], "change")).status_code for model in SCOPED}
    changed = {model: reviewer.post(address(mine[model], "change"), {}).status_code for model in SCOPED}
    deleted = {model: reviewer.post(address(mine[model], "delete"), {"post": "yes"}).status_code for model in SCOPED}

    readable = {Provider, Operatory, VisitType, Patient, Appointment, Closure, Task, CallSession}
    assert {model for model, status in opened.items() if status == 200} == readable
    assert {model for model, status in opened.items() if status == 404} == set(SCOPED) - readable
    assert {model for model, status in changed.items() if status not in (403, 404)} == {Task}
    assert {model for model, status in deleted.items() if status not in (403, 404)} == set()


def test_platform_administrator_sets_clinics_up_and_reads_no_patient_data(
    platform: Client, mine: dict[type[Model], Model]
):
    opened = {model: platform.get(address(mine[model], "change")).status_code for model in SCOPED}

    assert {model for model, status in opened.items() if status == 200} == {
        Clinic, Agent, ApiToken, Membership, LedgerPeriod,
    }  # fmt: skip
    assert {status for status in opened.values() if status != 200} == {404}


def test_staff_user_without_a_clinic_finds_nothing(mine: dict[type[Model], Model]):
    stranger = logged_in(make_user())

    assert {stranger.get(address(mine[model], "change")).status_code for model in SCOPED} == {404}
    assert {stranger.get(address(model, "changelist")).status_code for model in SCOPED} == {403}


def test_row_of_another_clinic_cannot_be_posted_into_a_form(
    manager: Client, mine: dict[type[Model], Model], others: dict[type[Model], Model]
):
    posted = {"clinic": mine[Clinic].pk, "starts": "2026-12-24T00:00", "ends": "2026-12-25T00:00", "reason": ""}

    foreign_provider = manager.post(address(Closure, "add"), {**posted, "provider": others[Provider].pk})
    foreign_clinic = manager.post(address(Closure, "add"), {**posted, "clinic": others[Clinic].pk})

    assert list(foreign_provider.context["adminform"].form.errors) == ["provider"]
    assert list(foreign_clinic.context["adminform"].form.errors) == ["clinic"]
    assert Closure.objects.count() == 2


def test_who_manages_two_clinics_cannot_mix_their_rows(
    mine: dict[type[Model], Model], others: dict[type[Model], Model]
):
    user = make_user()
    for rows in (mine, others):
        Membership.objects.create(user=user, clinic_id=rows[Clinic].pk, role=Membership.Role.MANAGER)
    client = logged_in(user)
    posted = {"clinic": mine[Clinic].pk, "starts": "2026-12-24T00:00", "ends": "2026-12-25T00:00"}

    added = client.post(address(Closure, "add"), {**posted, "provider": others[Provider].pk})
    changed = client.get(address(mine[Closure], "change"))

    assert added.context["adminform"].form.errors == {"provider": ["Choose one of the same clinic."]}
    assert set(changed.context["adminform"].form.fields["provider"].queryset) == {mine[Provider]}


def test_schedule_cannot_point_at_a_room_of_another_clinic(
    manager: Client, mine: dict[type[Model], Model], others: dict[type[Model], Model]
):
    provider = mine[Provider]
    schedule = ProviderSchedule.objects.get(provider_id=provider.pk)
    posted = {
        "name": "Dr. Mine", "spoken_as": "", "active": "on",
        "schedules-TOTAL_FORMS": "1", "schedules-INITIAL_FORMS": "1",
        "schedules-0-id": schedule.pk, "schedules-0-provider": provider.pk,
        "schedules-0-weekday": "0", "schedules-0-on_date": "", "schedules-0-starts": "09:00",
        "schedules-0-ends": "17:00", "schedules-0-operatory": others[Operatory].pk,
    }  # fmt: skip

    response = manager.post(address(provider, "change"), posted)

    assert [list(form.errors) for form in response.context["inline_admin_formsets"][0].formset] == [["operatory"]]


def test_opening_a_call_leaves_a_row_and_looking_for_another_clinics_none(
    manager: Client, mine: dict[type[Model], Model], others: dict[type[Model], Model]
):
    manager.get(address(mine[CallSession], "change"))
    manager.get(address(others[CallSession], "change"))

    assert list(CallView.objects.values_list("session", "door")) == [(mine[CallSession].pk, "admin")]


def test_history_names_fields_and_references_and_no_patient_data(manager: Client, mine: dict[type[Model], Model]):
    canary = "CANARY-4711"
    patient = mine[Patient]
    posted = {
        "clinic": mine[Clinic].pk, "first_name": canary, "last_name": canary, "date_of_birth": "1990-01-01",
        "phone": "+1 206 555 0199", "email": "canary@example.org", "notes": canary,
    }  # fmt: skip

    changed = manager.post(address(patient, "change"), posted, follow=True)
    added = manager.post(address(Patient, "add"), posted | {"date_of_birth": "1991-01-01"}, follow=True)

    assert (changed.status_code, added.status_code) == (200, 200)
    assert Patient.objects.filter(notes=canary).count() == 2
    kept = [f"{entry.object_repr} {entry.change_message}" for entry in LogEntry.objects.all()]
    shown = [str(message) for page in (changed, added) for message in page.context["messages"]]
    assert len(kept) == 2
    assert [line for line in kept + shown if canary.lower() in line.lower() or "0199" in line or "1991" in line] == []


def test_closure_is_entered_and_shown_by_the_clinics_clock(manager: Client, mine: dict[type[Model], Model]):
    posted = {"clinic": mine[Clinic].pk, "starts": "2026-12-24T08:00", "ends": "2026-12-24T12:30", "reason": "Holiday"}

    manager.post(address(Closure, "add"), posted)

    closure = Closure.objects.get(reason="Holiday")
    assert (closure.starts, closure.ends) == (
        datetime(2026, 12, 24, 13, 0, tzinfo=UTC),
        datetime(2026, 12, 24, 17, 30, tzinfo=UTC),
    )
    page = manager.get(address(closure, "change")).content.decode()
    assert 'value="2026-12-24T08:00"' in page
    assert "Thu 2026-12-24 08:00 EST" in manager.get(address(Closure, "changelist")).content.decode()


def test_time_that_the_clocks_skip_is_refused(manager: Client, mine: dict[type[Model], Model]):
    posted = {"clinic": mine[Clinic].pk, "starts": "2027-03-14T02:30", "ends": "2027-03-14T12:00"}

    response = manager.post(address(Closure, "add"), posted)

    assert response.context["adminform"].form.errors == {"starts": ["The clocks skip this time on that day."]}


def test_appointments_are_only_read_here(manager: Client, mine: dict[type[Model], Model]):
    assert manager.get(address(Appointment, "add")).status_code == 403
    assert manager.post(address(mine[Appointment], "change"), {}).status_code == 403
    assert manager.post(address(mine[Appointment], "delete"), {"post": "yes"}).status_code == 403


def test_finished_task_names_who_finished_it(reviewer: Client, mine: dict[type[Model], Model]):
    reviewer.post(address(mine[Task], "change"), {"status": "done"})

    task = Task.objects.get(pk=mine[Task].pk)
    assert (task.status, task.done_by_id) == ("done", int(reviewer.session["_auth_user_id"]))
    assert task.done_at is not None
    assert LogEntry.objects.get().action_flag == CHANGE


def test_group_membership_reaches_every_clinic_of_the_group_and_no_other(
    mine: dict[type[Model], Model], others: dict[type[Model], Model]
):
    group = ClinicGroup.objects.create(name="Group")
    Clinic.objects.filter(pk=mine[Clinic].pk).update(group=group)
    user = make_user()
    Membership.objects.create(user=user, group=group, role=Membership.Role.MANAGER)
    client = logged_in(user)

    assert [client.get(address(rows[Agent], "change")).status_code for rows in (mine, others)] == [200, 404]
