from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.hashers import make_password
from django.contrib.messages import get_messages
from django.db.models import Model
from django.db.models.signals import pre_save
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from agents_app.admin import publish_pages
from agents_app.admin.publish_pages import changes
from agents_app.models import (
    FIXED_LINES,
    OPENING_LINES,
    Agent,
    AgentVersion,
    ApiToken,
    Clinic,
    Instruction,
    Membership,
    RealtimeModel,
    Tool,
    Voice,
)
from agents_app.practice.models import Patient
from agents_app.publishing import publish
from agents_app.sealing import seal
from tests.make import answering, make_agent, make_clinic, make_user
from tests.make_practice import make_patient, make_task

pytestmark = pytest.mark.django_db

KEY = "sk-proj-CANARY0123456789abcdWXYZ"


def silent(text: str, *, voice: str, key: str) -> bytes | None:
    return None


@pytest.fixture
def clinic() -> Clinic:
    return make_clinic(name="Barton Dental", hours=[])


@pytest.fixture
def manager(clinic: Clinic) -> Client:
    client = Client()
    client.force_login(make_user(clinic))
    return client


@pytest.fixture(autouse=True)
def _no_voice(settings: Any) -> None:
    """Nothing listens there: publishing goes on without sound."""
    settings.OPENAI_BASE_URL = "http://127.0.0.1:9/v1"


def page(row: Any, name: str = "change") -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{name}", args=(row.pk,))


def below(row: Any, name: str) -> str:
    return page(row).removesuffix("change/") + f"{name}/"


def texts(response: Any) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]


def clinic_form(clinic: Clinic, **changed: Any) -> dict[str, Any]:
    fields = [
        "name", "address", "phone", "emergency_number", "website", "timezone", "policies", "arrival_note",
        "booking_horizon_days", "recording_notice", "max_concurrent_calls", "max_call_minutes", "max_starts_per_hour",
        "max_calls_per_address", "max_calls_per_network",
    ]  # fmt: skip
    empty = {f"{prefix}-{kind}_FORMS": "0" for prefix in ("hours", "origins") for kind in ("TOTAL", "INITIAL")}
    return {name: getattr(clinic, name) for name in fields} | empty | changed


def agent_form(agent: Agent, **changed: Any) -> dict[str, Any]:
    fields = [
        "name", "public_name", "speed", "reasoning_effort", "language", "turn_taking", "idle_seconds", "echo_guard",
        *OPENING_LINES, *FIXED_LINES,
    ]  # fmt: skip
    rows = list(agent.instructions.all())
    inlines: dict[str, Any] = {
        "instructions-TOTAL_FORMS": len(rows), "instructions-INITIAL_FORMS": len(rows),
        "guardrails-TOTAL_FORMS": 0, "guardrails-INITIAL_FORMS": 0,
    }  # fmt: skip
    for index, row in enumerate(rows):
        values = {
            "id": row.pk,
            "agent": agent.pk,
            "position": row.position,
            "kind": row.kind,
            "title": row.title,
            "text": row.text,
        }
        inlines |= {f"instructions-{index}-{name}": value for name, value in values.items()}
    mine = {name: getattr(agent, name) for name in fields} | {"model": agent.model_id, "voice": agent.voice_id}
    return mine | {"tool_names": [tool.name for tool in agent.tools.all()]} | inlines | changed


def test_clinics_key_is_kept_sealed_and_shows_its_end_alone(manager: Client, clinic: Clinic):
    saved = manager.post(page(clinic), clinic_form(clinic, new_upstream_key=KEY), follow=True)
    shown = manager.get(page(clinic)).content.decode()
    history = manager.get(page(clinic, "history")).content.decode()

    clinic.refresh_from_db()
    assert clinic.upstream_key == KEY
    assert KEY not in clinic.upstream_key_sealed
    assert "set, ends with …WXYZ" in shown
    assert [where for where in (saved.content.decode(), shown, history) if "CANARY" in where] == []
    assert "CANARY" not in "".join(LogEntry.objects.values_list("change_message", flat=True))


def test_empty_key_field_keeps_the_key_and_the_switch_forgets_it(manager: Client, clinic: Clinic):
    clinic.set_upstream_key(KEY)

    manager.post(page(clinic), clinic_form(clinic))
    kept = Clinic.objects.get(pk=clinic.pk).upstream_key
    manager.post(page(clinic), clinic_form(clinic, forget_upstream_key="on"))

    assert kept == KEY
    assert Clinic.objects.get(pk=clinic.pk).upstream_key == ""


@pytest.mark.parametrize("key", ["sk-a\r\nX-Injected: yes", "sk-a b", "sk-ä"])
def test_key_that_would_break_a_header_is_refused(manager: Client, clinic: Clinic, key: str):
    response = manager.post(page(clinic), clinic_form(clinic, new_upstream_key=key))

    assert list(response.context["adminform"].form.errors) == ["new_upstream_key"]
    assert Clinic.objects.get(pk=clinic.pk).upstream_key == ""


def test_refused_form_does_not_send_the_key_back(manager: Client, clinic: Clinic):
    response = manager.post(page(clinic), clinic_form(clinic, new_upstream_key=KEY, phone=""))

    assert list(response.context["adminform"].form.errors) == ["phone"]
    assert "CANARY" not in response.content.decode()


def test_manager_sets_what_calls_may_cost_and_takes_it_back(manager: Client, clinic: Clinic):
    other = make_clinic()
    manager.post(page(clinic), clinic_form(clinic, daily_cap_usd="7.50", monthly_cap_usd="100"))
    manager.post(page(other), clinic_form(other, daily_cap_usd="7.50"))
    clinic.refresh_from_db()
    other.refresh_from_db()
    caps = (clinic.daily_cap_usd, clinic.monthly_cap_usd, other.daily_cap_usd)

    refused = manager.post(page(clinic), clinic_form(clinic, daily_cap_usd="0"))
    manager.post(page(clinic), clinic_form(clinic, daily_cap_usd=""))
    clinic.refresh_from_db()

    assert caps == (Decimal("7.50"), Decimal("100"), None)
    assert "daily_cap_usd" in refused.context["adminform"].form.errors
    assert (clinic.daily_cap_usd, clinic.monthly_cap_usd) == (None, None)


def test_day_may_have_several_stretches_of_opening_hours(manager: Client, clinic: Clinic):
    rows = {"hours-TOTAL_FORMS": "2"}
    for index, (opens, closes) in enumerate((("08:00", "12:00"), ("13:00", "17:00"))):
        rows |= {f"hours-{index}-weekday": "0", f"hours-{index}-opens": opens, f"hours-{index}-closes": closes}

    manager.post(page(clinic), clinic_form(clinic, **rows))

    assert [str(row) for row in clinic.hours.all()] == ["Monday 08:00-12:00", "Monday 13:00-17:00"]


def test_same_web_site_entered_twice_is_told_and_one_is_kept_as_browsers_write_it(manager: Client, clinic: Clinic):
    once = {"origins-TOTAL_FORMS": "1", "origins-0-origin": "HTTPS://WWW.Example.org:443/"}
    twice = once | {"origins-TOTAL_FORMS": "2", "origins-1-origin": "https://www.example.org"}

    refused = manager.post(page(clinic), clinic_form(clinic, **twice))
    manager.post(page(clinic), clinic_form(clinic, **once))

    assert refused.status_code == 200
    assert clinic.allows_origin("https://www.example.org")


@pytest.mark.parametrize("text", ["www.example.org", "https://", "http://[", "https://a.example:x", "ftp://a.example"])
def test_web_site_that_is_no_origin_is_told_beside_its_field(manager: Client, clinic: Clinic, text: str):
    row = {"origins-TOTAL_FORMS": "1", "origins-0-origin": text}

    refused = manager.post(page(clinic), clinic_form(clinic, **row))

    formsets = refused.context["inline_admin_formsets"]
    assert [list(form.errors) for each in formsets for form in each.formset] == [["origin"]]
    assert not clinic.origins.exists()


def test_manager_cannot_join_a_group_or_add_and_remove_clinics(manager: Client, clinic: Clinic):
    fields = manager.get(page(clinic)).context["adminform"].form.fields

    assert "group" not in fields
    assert manager.get(reverse("admin:agents_app_clinic_add")).status_code == 403
    assert manager.get(page(clinic, "delete")).status_code == 403


def test_token_is_shown_once_and_kept_as_a_digest(manager: Client, clinic: Clinic):
    made = manager.post(reverse("admin:agents_app_apitoken_add"), {"clinic": clinic.pk, "name": "Phone"})
    token = made.context["token"]

    row = ApiToken.find(token)
    assert row is not None
    assert (row.clinic, row.name, row.hint) == (clinic, "Phone", token[-4:])
    assert row.created_by is not None
    assert token in made.content.decode()
    assert "no-store" in made["Cache-Control"]
    later = [manager.get(page(row)), manager.get(page(row, "history")), manager.get("/admin/")]
    assert [where for where in later if token in where.content.decode()] == []
    assert token not in json.dumps([*LogEntry.objects.values_list("change_message", "object_repr")])
    assert token not in json.dumps([*manager.session.items()]) + str(manager.cookies)


def test_revoked_token_is_refused_and_stays_in_sight(manager: Client, clinic: Clinic):
    row, token = ApiToken.issue(clinic=clinic, name="Phone")

    manager.post(page(row), {"name": "Phone", "revoke": "on"})

    assert ApiToken.find(token) is None
    assert manager.get(page(row)).status_code == 200
    assert manager.post(page(row, "delete"), {"post": "yes"}).status_code == 403


def test_manager_ticks_tools_and_unticks_one_that_is_gone(manager: Client, clinic: Clinic):
    agent = make_agent(clinic, tools=["get_datetime", "no_such_tool"])
    offered = dict(manager.get(page(agent)).context["adminform"].form.fields["tool_names"].choices)

    saved = manager.post(page(agent), agent_form(agent, tool_names=["get_datetime", "take_message"]))

    assert saved.status_code == 302
    assert "Not in this installation." in offered["no_such_tool"]
    assert [(tool.name, tool.enabled) for tool in agent.tools.all()] == [("get_datetime", True), ("take_message", True)]


def test_tool_that_does_not_exist_cannot_be_ticked(manager: Client, clinic: Clinic):
    agent = make_agent(clinic)

    response = manager.post(page(agent), agent_form(agent, tool_names=["rm_rf"]))

    assert list(response.context["adminform"].form.errors) == ["tool_names"]
    assert Tool.objects.count() == 0


def test_page_previews_the_text_and_the_session_object_of_the_draft(manager: Client, clinic: Clinic):
    agent = make_agent(clinic, name="Lexi")
    Instruction.objects.create(agent=agent, title="Marked", text="You are {{ agent_name }} <of> {{ clinic_name }}.")

    shown = manager.get(page(agent)).content.decode()

    assert "You are Lexi &lt;of&gt; Barton Dental." in shown
    assert "&quot;silence_duration_ms&quot;: 500" in shown


@pytest.mark.parametrize("language", ["english", "EN", "e", "e1", "en-US"])
def test_language_that_the_service_would_refuse_is_refused_here(manager: Client, clinic: Clinic, language: str):
    agent = make_agent(clinic)

    response = manager.post(page(agent), agent_form(agent, language=language))

    assert list(response.context["adminform"].form.errors) == ["language"]


def test_public_name_is_fixed_once_published(manager: Client, clinic: Clinic):
    agent = make_agent(clinic, public_name="first")
    before = manager.get(page(agent)).context["adminform"].form.fields
    publish(agent, None, speak=silent)

    after = manager.get(page(agent)).context["adminform"].form.fields
    manager.post(page(agent), agent_form(agent, public_name="second"))

    assert ("public_name" in before, "public_name" in after) == (True, False)
    assert Agent.objects.get(pk=agent.pk).public_name == "first"


def test_published_receptionist_cannot_be_deleted(manager: Client, clinic: Clinic):
    agent = make_agent(clinic)
    publish(agent, None, speak=silent)

    manager.post(page(agent, "delete"), {"post": "yes"})

    assert Agent.objects.filter(pk=agent.pk).exists()
    assert AgentVersion.objects.count() == 1


def test_publish_asks_first_and_acts_by_post_alone(manager: Client, clinic: Clinic):
    agent = make_agent(clinic)

    asked = manager.get(below(agent, "publish"))
    after_asking = AgentVersion.objects.count()
    done = manager.post(below(agent, "publish"))

    assert (asked.status_code, after_asking) == (200, 0)
    assert answering(agent.public_name) is not None
    assert texts(done) == [
        "Version 1 is live: the next call begins with it.",
        "Some fixed lines could not be spoken: callers read them. Publish again to try once more.",
    ]
    assert AgentVersion.objects.get().published_by_id == int(manager.session["_auth_user_id"])


def test_publish_page_shows_what_changes(manager: Client, clinic: Clinic):
    agent = make_agent(clinic, greeting="Hello there.")
    publish(agent, None, speak=silent)
    Agent.objects.filter(pk=agent.pk).update(greeting="Good day.")

    shown = manager.get(below(agent, "publish")).context["changes"]

    assert [line for line in shown if line[0] != " "] == [
        ("-", '  "greeting": "Hello there.",'),
        ("+", '  "greeting": "Good day.",'),
    ]


def test_draft_with_faults_is_not_published_and_each_is_named(manager: Client, clinic: Clinic):
    agent = make_agent(clinic, disclosure="")

    asked = manager.get(below(agent, "publish"))
    done = manager.post(below(agent, "publish"))

    told = "The disclosure is empty: callers must be told that they talk to an assistant."
    assert asked.context["reasons"] == [told]
    assert texts(done) == [told]
    assert AgentVersion.objects.count() == 0


def test_roll_back_makes_an_older_version_live_and_keeps_the_draft(manager: Client, clinic: Clinic):
    agent = make_agent(clinic, greeting="First.")
    first = publish(agent, None, speak=silent)
    agent.greeting = "Second."
    agent.save()
    publish(agent, None, speak=silent)

    listed = manager.get(below(agent, "versions"))
    manager.post(below(agent, "versions"), {"number": "1"})

    assert [version.number for version in listed.context["versions"]] == [2, 1]
    assert answering(agent.public_name) == first
    assert Agent.objects.get(pk=agent.pk).greeting == "Second."
    assert LogEntry.objects.get().change_message == "Rolled back to version 1."


def test_newest_versions_are_listed_and_the_page_says_that_there_are_more(
    manager: Client, clinic: Clinic, monkeypatch: pytest.MonkeyPatch
):
    # A hundred would show the same, only later.
    monkeypatch.setattr(publish_pages, "LISTED_VERSIONS", 2)
    agent = make_agent(clinic)
    shown = []

    for number in range(3):
        agent.greeting = f"Hello {number}."
        agent.save()
        publish(agent, None, speak=silent)
        shown.append(manager.get(below(agent, "versions")))

    assert [[version.number for version in each.context["versions"]] for each in shown] == [[1], [2, 1], [3, 2]]
    assert ["These are the newest 2." in each.content.decode() for each in shown] == [False, False, True]
    manager.post(below(agent, "versions"), {"number": "1"})
    version = answering(agent.public_name)
    assert version is not None
    assert version.number == 1


@pytest.mark.parametrize("number", ["7", "", "x", "²", "-1", pytest.param("9" * 5000, id="long")])
def test_roll_back_to_a_version_that_is_none_is_404(manager: Client, clinic: Clinic, number: str):
    agent = make_agent(clinic)
    publish(agent, None, speak=silent)

    assert manager.post(below(agent, "versions"), {"number": number}).status_code == 404


@pytest.mark.parametrize("name", ["publish", "versions", "talk"])
def test_pages_of_another_clinics_receptionist_do_not_exist(manager: Client, name: str):
    foreign = make_agent(make_clinic())

    answers = [manager.get(below(foreign, name)), manager.post(below(foreign, name), {"number": "1"})]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert AgentVersion.objects.count() == 0


@pytest.mark.parametrize("name", ["publish", "versions", "talk"])
def test_reviewer_neither_publishes_nor_rolls_back(clinic: Clinic, name: str):
    reviewer = Client()
    reviewer.force_login(make_user(clinic, role=Membership.Role.REVIEWER))
    agent = make_agent(clinic)

    assert reviewer.post(below(agent, name)).status_code in (403, 404)
    assert AgentVersion.objects.count() == 0


def test_talk_leads_to_the_page_of_a_live_receptionist(manager: Client, clinic: Clinic):
    agent = make_agent(clinic, public_name="lexi")
    before = manager.get(below(agent, "talk"))
    publish(agent, None, speak=silent)

    after = manager.get(below(agent, "talk"))

    assert before["Location"] == page(agent)
    assert after["Location"] == "/talk/lexi/?preview"


def test_changes_are_the_lines_that_differ_with_those_around():
    assert changes({"a": 1, "b": 2}, {"a": 1, "b": 3}) == [
        (" ", "{"),
        (" ", ' "a": 1,'),
        ("-", ' "b": 2'),
        ("+", ' "b": 3'),
        (" ", "}"),
    ]
    assert changes({"a": 1}, {"a": 1}) == []


def test_new_receptionist_starts_with_the_clinic_and_todays_default_model(manager: Client, clinic: Clinic):
    importlib.import_module("agents_app.migrations.0003_models_and_voices").add_rows(apps, None)

    form = manager.get(reverse("admin:agents_app_agent_add")).context["adminform"].form

    assert form.fields["clinic"].initial == clinic.pk
    assert RealtimeModel.objects.get(pk=form.initial["model"]).name == "gpt-realtime-2.1"
    assert Voice.objects.get(pk=form.initial["voice"]).name == "marin"


def test_models_and_voices_are_added_once_and_edits_stay():
    migration = importlib.import_module("agents_app.migrations.0003_models_and_voices")
    migration.add_rows(apps, None)
    RealtimeModel.objects.filter(name="gpt-realtime-2.1").update(label="Ours")

    migration.add_rows(apps, None)

    reasoning = RealtimeModel.objects.filter(reasoning=True, parallel_tools=True, shutdown_on=None)
    assert sorted(reasoning.values_list("name", flat=True)) == [
        "gpt-realtime-2",
        "gpt-realtime-2.1",
        "gpt-realtime-2.1-mini",
    ]
    assert list(Voice.objects.filter(recommended=True).values_list("name", flat=True)) == ["cedar", "marin"]
    assert RealtimeModel.objects.get(name="gpt-realtime-2.1").label == "Ours"


@contextmanager
def changed_meanwhile(row: Model, **columns: Any) -> Iterator[None]:
    """Change the row behind the back of a page, which has read it and does not know before it writes."""

    def change(sender: type[Model], **kwargs: Any) -> None:
        sender._default_manager.filter(pk=row.pk).update(**columns)

    pre_save.connect(change, sender=type(row))
    try:
        yield
    finally:
        pre_save.disconnect(change, sender=type(row))


def test_renamed_token_that_is_revoked_meanwhile_stays_revoked(manager: Client, clinic: Clinic):
    row, token = ApiToken.issue(clinic=clinic, name="Phone")

    with changed_meanwhile(row, revoked_at=timezone.now()):
        manager.post(page(row), {"name": "Switchboard"})

    row.refresh_from_db()
    assert row.name == "Switchboard"
    assert ApiToken.find(token) is None


def test_revoked_token_keeps_the_name_that_it_was_given_meanwhile(manager: Client, clinic: Clinic):
    row, token = ApiToken.issue(clinic=clinic, name="Phone")

    with changed_meanwhile(row, name="Switchboard"):
        manager.post(page(row), {"name": "Phone", "revoke": "on"})

    row.refresh_from_db()
    assert row.name == "Switchboard"
    assert ApiToken.find(token) is None


def test_clinic_saved_while_its_key_is_sealed_again_keeps_the_newer_seal(manager: Client, clinic: Clinic):
    clinic.set_upstream_key(KEY)
    again = seal(KEY, place=f"clinic:{clinic.pk}:upstream_key")

    with changed_meanwhile(clinic, upstream_key_sealed=again):
        manager.post(page(clinic), clinic_form(clinic, phone="+1 555 0199"))

    clinic.refresh_from_db()
    assert (clinic.phone, clinic.upstream_key_sealed) == ("+1 555 0199", again)


def test_draft_saved_while_a_version_is_published_leaves_that_version_live(manager: Client, clinic: Clinic):
    agent = make_agent(clinic, greeting="First.")
    first = publish(agent, None, speak=silent)
    agent.greeting = "Second."
    agent.save()
    second = publish(agent, None, speak=silent)
    Agent.objects.update(live_version=first)

    with changed_meanwhile(agent, live_version=second):
        manager.post(page(agent), agent_form(agent, greeting="Third."))

    assert Agent.objects.get(pk=agent.pk).greeting == "Third."
    assert answering(agent.public_name) == second


def test_patients_notes_saved_while_the_name_changes_leave_the_name_and_its_key(manager: Client, clinic: Clinic):
    patient = make_patient(clinic)
    fields = ("first_name", "last_name", "date_of_birth", "phone", "email")
    posted = {name: getattr(patient, name) for name in fields}

    with changed_meanwhile(patient, last_name="Berg", name_key="annberg"):
        manager.post(page(patient), posted | {"notes": "Prefers mornings."})

    patient.refresh_from_db()
    assert (patient.notes, patient.last_name, patient.name_key) == ("Prefers mornings.", "Berg", "annberg")


def test_finished_task_keeps_what_changed_meanwhile(manager: Client, clinic: Clinic):
    task = make_task(clinic)

    with changed_meanwhile(task, priority="urgent"):
        manager.post(page(task), {"status": "done"})

    task.refresh_from_db()
    assert (task.status, task.priority) == ("done", "urgent")
    assert None not in (task.done_by_id, task.done_at)


def test_login_saved_while_its_password_is_set_keeps_the_newer_password(client: Client):
    client.force_login(make_user(is_superuser=True))
    person = make_user(username="maya")

    with changed_meanwhile(person, password=make_password("another horse battery")):
        client.post(page(person), {"username": "maya", "first_name": "Maya", "is_active": "on", "is_staff": "on"})

    person.refresh_from_db()
    assert (person.first_name, person.check_password("another horse battery")) == ("Maya", True)


def test_patient_who_is_registered_already_is_told_beside_the_form_whether_added_or_changed(
    manager: Client, clinic: Clinic
):
    known, other = make_patient(clinic), make_patient(clinic, first_name="Robin")
    fields = ("first_name", "last_name", "date_of_birth", "phone")
    same = {name: getattr(known, name) for name in fields} | {"clinic": clinic.pk, "email": "", "notes": ""}

    added = manager.post(reverse("admin:practice_patient_add"), same | {"first_name": known.first_name.upper()})
    changed = manager.post(page(other), same)

    told = "This patient is registered already."
    assert (added.status_code, changed.status_code) == (200, 200)
    assert told in added.content.decode()
    assert told in changed.content.decode()
    assert Patient.objects.count() == 2
