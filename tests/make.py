"""Makes rows for tests: each function a sensible whole, with any field replaced by keyword."""

from __future__ import annotations

from itertools import count
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User

from agents_app.models import (
    Agent,
    AgentVersion,
    Clinic,
    ClinicHours,
    Instruction,
    Membership,
    RealtimeModel,
    Tool,
    Voice,
)
from sessions_app.client_secrets import live_version

_numbers = count(1)
# As the migration has it: a test with a transaction of its own leaves the tables empty.
_MODEL = {"label": "GPT Realtime 2.1", "reasoning": True, "parallel_tools": True}


def make_clinic(**fields: Any) -> Clinic:
    """A clinic in New York, open on weekdays from 9 to 17, unless `hours=` says otherwise."""
    hours = fields.pop("hours", [(day, "09:00", "17:00") for day in range(5)])
    n = next(_numbers)
    # All of a test's callers come from one address.
    bounds = {"max_calls_per_address": 500, "max_calls_per_network": 500}
    clinic = Clinic.objects.create(**{"name": f"Clinic {n}", "phone": "+1 555 0100", **bounds, **fields})
    for weekday, opens, closes in hours:
        ClinicHours.objects.create(clinic=clinic, weekday=weekday, opens=opens, closes=closes)
    return clinic


def answering(public_name: str) -> AgentVersion | None:
    """What a call to `public_name` begins with."""
    agent = Agent.objects.published(public_name)
    return live_version(agent) if agent is not None else None


def make_user(clinic: Clinic | None = None, *, role: str = Membership.Role.MANAGER, **fields: Any) -> User:
    """A member of staff; of `clinic`, when one is given."""
    n = next(_numbers)
    user = get_user_model().objects.create_user(
        **{"username": f"user{n}", "password": "correct horse battery", "is_staff": True, **fields}
    )
    if clinic is not None:
        Membership.objects.create(user=user, clinic=clinic, role=role)
    return user


def make_agent(clinic: Clinic | None = None, **fields: Any) -> Agent:
    """A draft with one instruction and the tools named in `tools=`; not published."""
    tools = fields.pop("tools", [])
    n = next(_numbers)
    model, _ = RealtimeModel.objects.get_or_create(name="gpt-realtime-2.1", defaults=_MODEL)
    voice, _ = Voice.objects.get_or_create(name="marin", defaults={"label": "Marin"})
    agent = Agent.objects.create(
        **{
            "clinic": clinic or make_clinic(),
            "name": f"Agent {n}",
            "public_name": f"agent-{n}",
            "model": model,
            "voice": voice,
            "greeting": "Hello, this is the clinic.",
            **fields,
        }
    )
    Instruction.objects.create(agent=agent, title="Who you are", text="You answer the clinic's calls.", kind="persona")
    for name in tools:
        Tool.objects.create(agent=agent, name=name)
    return agent
