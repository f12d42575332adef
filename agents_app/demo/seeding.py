"""Writes the demo pack. What stands is never changed: a newcomer's edits outlive the next start."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta

from django.contrib.auth.models import User
from django.db import transaction

from agents_app import speech
from agents_app.demo.diary import top_up
from agents_app.demo.logins import LOGINS, DemoLogin, make_login, standing_logins
from agents_app.demo.pack import CALLS_AT_ONCE, CLINICS, STARTS_PER_HOUR, DemoClinic
from agents_app.demo.receptionists import EMERGENCY_LINE, EMERGENCY_PHRASES
from agents_app.demo.standing import standing_clinic
from agents_app.models import Agent, Clinic, ClinicHours, Guardrail, Instruction, RealtimeModel, Tool, Voice
from agents_app.practice.models import Closure, Operatory, Patient, Provider, ProviderSchedule, VisitType
from agents_app.publishing import Speak, complete_sound, lines_without_sound, publish
from agents_app.tools import registered_tools

MODEL = "gpt-realtime-2.1-mini"  # a demo that is pointed at the real service should cost little


@dataclass(frozen=True)
class Seeded:
    """What a caller of the demo needs to know."""

    agents: tuple[Agent, ...]
    logins: tuple[DemoLogin, ...]
    appointments_added: int
    silent_lines: int


def seed(*, now: datetime, speak: Speak = speech.speak) -> Seeded:
    """Make what is missing of the demo, fill the days around `now`, and give fixed lines their sound."""
    added = 0
    with transaction.atomic():
        for pack in CLINICS:
            clinic = standing_clinic(pack.name) or _make_clinic(pack, now)
            added += top_up(clinic, visits_a_day=pack.visits_a_day, now=now)
        users = {login.username: make_login(login) for login in LOGINS}
    # Publishing speaks, which takes seconds: outside the transaction.
    agents = tuple(_publish_once(pack, users["admin"], speak) for pack in CLINICS)
    silent = sum(len(lines_without_sound(agent.live_version)) for agent in agents if agent.live_version)
    return Seeded(agents, tuple(standing_logins()), added, silent)


def _publish_once(pack: DemoClinic, user: User, speak: Speak) -> Agent:
    """Publish a receptionist that never was; of one that was, only the lines without sound are spoken."""
    agent = Agent.objects.select_related("clinic", "live_version").get(public_name=pack.agent.public_name)
    if agent.live_version is None:
        publish(agent, user, speak=speak)  # sets agent.live_version
    else:
        complete_sound(agent.live_version, speak=speak)
    return agent


def _make_clinic(pack: DemoClinic, now: datetime) -> Clinic:
    clinic = Clinic.objects.create(
        name=pack.name,
        address=pack.address,
        phone=pack.phone,
        timezone=pack.timezone,
        policies=pack.policies,
        arrival_note=pack.arrival_note,
        recording_enabled=pack.recording_enabled,
        recording_notice=pack.notice,
        max_concurrent_calls=CALLS_AT_ONCE,
        max_calls_per_address=CALLS_AT_ONCE,  # everyone who tries the demo sits at one machine
        max_starts_per_hour=STARTS_PER_HOUR,
    )
    ClinicHours.objects.bulk_create(
        ClinicHours(clinic=clinic, weekday=weekday, opens=opens, closes=closes) for weekday, opens, closes in pack.hours
    )
    _make_practice(clinic, pack, now)
    _make_agent(clinic, pack)
    return clinic


def _make_practice(clinic: Clinic, pack: DemoClinic, now: datetime) -> None:
    rooms = {name: Operatory.objects.create(clinic=clinic, name=name) for name in pack.rooms}
    providers = {
        row.name: Provider.objects.create(clinic=clinic, name=row.name, spoken_as=row.spoken_as)
        for row in pack.providers
    }
    ProviderSchedule.objects.bulk_create(
        ProviderSchedule(provider=providers[row.name], weekday=weekday, starts=starts, ends=ends)
        for row in pack.providers
        for weekdays, starts, ends in row.shifts
        for weekday in weekdays
    )
    for visit in pack.visits:
        row = VisitType.objects.create(
            clinic=clinic,
            name=visit.name,
            spoken_as=visit.spoken_as,
            keywords=visit.keywords,
            minutes=visit.minutes,
            buffer_minutes=visit.buffer_minutes,
        )
        row.providers.set(providers[name] for name in visit.providers)
        row.operatories.set(rooms[name] for name in visit.rooms)
    _make_closures(clinic, pack, now)
    for first_name, last_name, born, phone in pack.patients:
        Patient.objects.create(
            clinic=clinic,
            first_name=first_name,
            last_name=last_name,
            date_of_birth=born,
            phone=phone,
            source=Patient.Source.DEMO,
        )


def _make_closures(clinic: Clinic, pack: DemoClinic, now: datetime) -> None:
    today = now.astimezone(clinic.zone).date()
    for ahead, starts, ends, reason in pack.closures:
        day = today + timedelta(days=ahead)
        Closure.objects.create(
            clinic=clinic,
            starts=datetime.combine(day, time.fromisoformat(starts), tzinfo=clinic.zone),
            ends=datetime.combine(day, time.fromisoformat(ends), tzinfo=clinic.zone),
            reason=reason,
        )


def _make_agent(clinic: Clinic, pack: DemoClinic) -> None:
    agent = Agent.objects.create(
        clinic=clinic,
        name=pack.agent.name,
        public_name=pack.agent.public_name,
        model=RealtimeModel.objects.get_or_create(
            name=MODEL, defaults={"label": MODEL, "reasoning": True, "parallel_tools": True}
        )[0],
        voice=Voice.objects.get_or_create(
            name=pack.agent.voice, defaults={"label": pack.agent.voice.capitalize(), "recommended": True}
        )[0],
        greeting=pack.agent.greeting,
        goodbye=pack.agent.goodbye,
        apology=f"I am sorry, something went wrong on our side. Please call us at {clinic.phone}.",
    )
    for position, block in enumerate(pack.agent.instructions, start=1):
        Instruction.objects.create(agent=agent, position=position, kind=block.kind, title=block.title, text=block.text)
    for name in registered_tools():
        Tool.objects.create(agent=agent, name=name)
    Guardrail.objects.create(
        agent=agent,
        position=1,
        name="Emergency",
        phrases=EMERGENCY_PHRASES,
        line=EMERGENCY_LINE.format(number=clinic.emergency_number),
    )
