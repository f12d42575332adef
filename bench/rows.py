"""The rows that a measured installation needs: a clinic with a receptionist, a second one whose tool is slow, and keys.

Run as a process of its own on that installation's database; each line of input is an order, each line of output its
answer in JSON. `keys 8`: as many keys, each with the caller's yes to the recording. `slow`: a key of the slow one.
`page 8000`: the address of the page, on that port, from which a patient calls the first one. `encode`: what it costs
to encode the recordings of the calls that have ended.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.settings")
django.setup()

from django.conf import settings  # noqa: E402 - the apps must be ready first
from django.core.management import call_command  # noqa: E402

from agents_app.models import (  # noqa: E402
    Agent,
    Clinic,
    ClinicHours,
    ClinicOrigin,
    Guardrail,
    Instruction,
    RealtimeModel,
    Tool,
    Voice,
)
from agents_app.publishing import publish  # noqa: E402
from bench.upstream import SLOW_TOOL  # noqa: E402
from sessions_app.client_secrets import Notice, mint  # noqa: E402
from sessions_app.encoding import encode  # noqa: E402

ORIGIN = "https://clinic.example"
FAST, SLOW = "bench", "bench-slow"
MOST_CALLS, MOST_STARTS, LONGEST_CALL_MINUTES = 500, 10_000, 55
MEASURED_SPOOLS = 5


def main() -> None:
    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    agents = {name: made(name) for name in (FAST, SLOW)}
    answer({"ready": FAST})
    for line in sys.stdin:
        order, _, number = line.strip().partition(" ")
        if order == "keys":
            answer([key(agents[FAST]) for _ in range(int(number))])
        elif order == "slow":
            answer(key(agents[SLOW]))
        elif order == "page":
            answer(page(agents[FAST], f"http://127.0.0.1:{number}"))
        elif order == "encode":
            answer(encoding())


def answer(value: Any) -> None:
    print(json.dumps(value), flush=True)


def made(name: str) -> Agent:
    """Return the published receptionist of this name, made when it is not there yet. No line of it has sound."""
    if found := Agent.objects.filter(public_name=name).select_related("clinic", "live_version").first():
        return found
    clinic = Clinic.objects.create(
        name=name,
        phone="+1 555 0100",
        recording_enabled=True,
        max_concurrent_calls=MOST_CALLS,
        max_calls_per_address=MOST_CALLS,
        max_calls_per_network=MOST_CALLS,
        max_starts_per_hour=MOST_STARTS,
        max_call_minutes=LONGEST_CALL_MINUTES,
    )
    ClinicHours.objects.create(clinic=clinic, weekday=0, opens="09:00", closes="17:00")
    ClinicOrigin.objects.create(clinic=clinic, origin=ORIGIN)
    model, _ = RealtimeModel.objects.get_or_create(name="gpt-realtime-2.1", defaults={"label": "GPT Realtime 2.1"})
    voice, _ = Voice.objects.get_or_create(name="marin", defaults={"label": "Marin"})
    agent = Agent.objects.create(
        clinic=clinic, name="Bench", public_name=name, model=model, voice=voice, greeting="Hello, this is the clinic."
    )
    Instruction.objects.create(agent=agent, title="Who you are", text="You answer the clinic's calls.", kind="persona")
    Guardrail.objects.create(
        agent=agent, name="Emergency", phrases="chest pain\ncannot breathe", line="Please call 911."
    )
    if name == SLOW:
        Tool.objects.create(agent=agent, name=SLOW_TOOL)
    publish(agent, None, speak=lambda *args, **kwargs: None)
    return Agent.objects.select_related("clinic", "live_version").get(pk=agent.pk)


def key(agent: Agent) -> str:
    notice = Notice(agent.clinic.notice_sha256, "accepted")
    return mint(agent, origin=ORIGIN, api_token=None, notice=notice)[0]


def page(agent: Agent, origin: str) -> str:
    """Let the installation's own page call; return its address."""
    ClinicOrigin.objects.get_or_create(clinic=agent.clinic, origin=origin)
    return f"{origin}/talk/{agent.public_name}/"


def encoding() -> dict[str, float]:
    """Return what encoding costs, in seconds of one core for a minute of a call, and how many spools said so."""
    spools = sorted((Path(settings.DATA_DIR) / "spool").glob("*.spool"), key=lambda path: -path.stat().st_size)
    spent = minutes = 0.0
    for spool in spools[:MEASURED_SPOOLS]:
        target = spool.with_suffix(".m4a")
        before = time.process_time()
        minutes += encode(spool, target).duration_ms / 60_000
        spent += time.process_time() - before
        target.unlink()
    return {"cpu_s_per_minute": spent / minutes if minutes else 0.0, "spools": min(len(spools), MEASURED_SPOOLS)}


if __name__ == "__main__":
    main()
