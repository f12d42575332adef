from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db.models import Model
from pytest_django import Settings

from agents_app.demo.logins import LOGINS, check_no_demo_password
from agents_app.demo.pack import CLINICS
from agents_app.demo.receptionists import EMERGENCY_LINE, EMERGENCY_PHRASES
from agents_app.demo.seeding import seed
from agents_app.guardrails import Rule, first_tripped, rules_from
from agents_app.models import Agent, AgentVersion, Clinic, Instruction, Membership
from agents_app.practice.models import Appointment, Closure, Patient, Provider, Task, VisitType
from agents_app.practice.normal import phone_digits
from agents_app.publishing import lines_without_sound
from agents_app.tools import registered_tools
from sessions_app.models import CallSession
from tests.make import answering

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)


def speak(text: str, *, voice: str, key: str) -> bytes | None:
    return b"\0\0"


EMERGENCY = Rule(0, "Emergency", tuple(EMERGENCY_PHRASES.splitlines()), EMERGENCY_LINE.format(number="911"), True)


def keys(*models: type[Model]) -> dict[str, set[Any]]:
    return {model.__name__: set(model._default_manager.values_list("pk", flat=True)) for model in models}


def diary() -> list[tuple[Any, ...]]:
    return sorted(Appointment.objects.values_list("clinic__name", "starts", "provider__name", "visit_type__name"))


def test_demo_has_a_receptionist_that_takes_calls_with_every_tool():
    seeded = seed(now=NOW, speak=speak)

    version = answering("lexi")

    assert version is not None
    assert [agent.public_name for agent in seeded.agents] == ["lexi", "max"]
    assert [tool["name"] for tool in version.content["tools"]] == sorted(registered_tools())
    assert version.agent.clinic.recording_enabled
    assert lines_without_sound(version) == []


@pytest.mark.parametrize(
    "said",
    [
        "I have chest pain",
        "help, I can't breathe",
        "my husband is unconscious",
        "there is severe bleeding and it won't stop",
        "I think she took an overdose",
        "is this a stroke?",
        "he's having a heart attack",
        "I have swelling in my throat",
        "trouble breathing",
    ],
)
def test_emergency_is_found(said: str):
    assert first_tripped([EMERGENCY], said) == EMERGENCY


@pytest.mark.parametrize("said", ["I would like to book a cleaning", "I have a toothache", "my crown came off", "yes"])
def test_everyday_words_are_no_emergency(said: str):
    assert first_tripped([EMERGENCY], said) is None


def test_each_receptionist_tells_to_call_the_emergency_number():
    seeded = seed(now=NOW, speak=speak)

    rules = [rules_from(agent.live_version.content) for agent in seeded.agents if agent.live_version]

    assert rules == [(EMERGENCY,), (EMERGENCY,)]
    assert "call 911 now" in EMERGENCY.line


def test_seeding_again_changes_no_row():
    kept = (
        Clinic,
        Agent,
        AgentVersion,
        Instruction,
        Patient,
        Provider,
        VisitType,
        Closure,
        Appointment,
        User,
        Membership,
    )
    seed(now=NOW, speak=speak)
    before = keys(*kept)

    again = seed(now=NOW, speak=speak)

    assert again.appointments_added == 0
    assert keys(*kept) == before


def test_seeding_later_tops_the_diary_up_and_keeps_what_stood():
    seed(now=NOW, speak=speak)
    before = diary()

    later = seed(now=NOW + timedelta(days=4), speak=speak)

    assert later.appointments_added > 0
    assert set(before) <= set(diary())
    assert len(diary()) == len(before) + later.appointments_added


def test_same_day_gives_the_same_diary():
    seed(now=NOW, speak=speak)
    first = diary()
    Appointment.objects.all().delete()

    seed(now=NOW, speak=speak)

    assert diary() == first


def test_edits_outlive_the_next_start():
    seed(now=NOW, speak=speak)
    Agent.objects.filter(public_name="lexi").update(greeting="My own words.")
    Clinic.objects.filter(name="Barton Dental").update(phone="+1 206 555 0199")

    seed(now=NOW, speak=speak)

    version = answering("lexi")
    assert version is not None
    assert Agent.objects.get(public_name="lexi").greeting == "My own words."
    assert version.content["lines"]["greeting"] != "My own words."
    assert Clinic.objects.get(name="Barton Dental").phone == "+1 206 555 0199"


def test_renamed_clinic_is_found_again():
    seed(now=NOW, speak=speak)
    Clinic.objects.filter(name="Barton Dental").update(name="Smile Street")
    User.objects.get(username="reviewer").delete()

    seeded = seed(now=NOW, speak=speak)

    assert Clinic.objects.count() == 2
    assert [agent.clinic.name for agent in seeded.agents] == ["Smile Street", "Seaview Family Clinic"]
    [membership] = Membership.objects.filter(user__username="reviewer")
    assert membership.clinic == seeded.agents[0].clinic


def test_every_number_is_kept_for_fiction():
    numbers = [clinic.phone for clinic in CLINICS] + [phone for clinic in CLINICS for *_, phone in clinic.patients]

    assert [number for number in numbers if not (phone_digits(number) or "")[4:].startswith("55501")] == []


def test_two_clinics_stand_apart():
    seed(now=NOW, speak=speak)
    manager, seaview = User.objects.get(username="manager"), User.objects.get(username="seaview")

    visible = [[clinic.name for clinic in Clinic.objects.visible_to(user)] for user in (manager, seaview)]

    assert visible == [["Barton Dental"], ["Seaview Family Clinic"]]
    assert {clinic.timezone for clinic in Clinic.objects.all()} == {"America/New_York", "America/Los_Angeles"}


def test_command_prints_logins_that_open_and_adds_calls_once(client: Any, settings: Settings):
    settings.DEBUG = True
    out = StringIO()

    call_command("seed_demo", json=True, stdout=out)
    call_command("seed_demo", stdout=StringIO())

    report = json.loads(out.getvalue())
    assert [agent["path"] for agent in report["agents"]] == ["/talk/lexi/", "/talk/max/"]
    assert all(client.login(username=row["username"], password=row["password"]) for row in report["logins"])
    assert [row["username"] for row in report["logins"]] == [login.username for login in LOGINS]
    assert list(CallSession.objects.values_list("clinic__name", flat=True)) == ["Seaview Family Clinic"] * 2
    assert Task.objects.count() == 1


def test_command_is_refused_outside_debug(settings: Settings):
    settings.DEBUG = False

    with pytest.raises(CommandError):
        call_command("seed_demo", stdout=StringIO())

    assert User.objects.count() == 0


def test_check_refuses_demo_passwords_outside_debug(settings: Settings):
    seed(now=NOW, speak=speak)
    changed = User.objects.get(username="manager")
    changed.set_password("a password of one's own")
    changed.save()

    settings.DEBUG = True
    in_debug = check_no_demo_password()
    settings.DEBUG = False
    outside = check_no_demo_password()

    assert in_debug == []
    assert [(error.id, error.msg) for error in outside] == [
        ("agents_app.E002", f"The user {name} has the demo's password.") for name in ("reviewer", "seaview", "admin")
    ]


def test_changed_password_is_kept_and_not_printed():
    seed(now=NOW, speak=speak)
    user = User.objects.get(username="admin")
    user.set_password("a password of one's own")
    user.save()

    seeded = seed(now=NOW, speak=speak)

    assert "admin" not in [login.username for login in seeded.logins]
    user.refresh_from_db()
    assert user.check_password("a password of one's own")
