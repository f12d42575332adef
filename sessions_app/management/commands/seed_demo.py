"""Makes the demo clinics, or tops up their diary, and prints what a visitor needs: addresses and logins."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from agents_app.demo.seeding import Seeded, seed
from sessions_app.demo_calls import add_demo_calls


class Command(BaseCommand):
    help = "Makes the demo clinics with their logins, or tops up their diary. Keeps every row. For DEBUG only."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError("The demo has passwords that anyone may know: it is for DEBUG only.")
        now = timezone.now()
        seeded = seed(now=now)
        second = seeded.agents[-1]
        add_demo_calls(second, now=now)
        self.stdout.write(json.dumps(_report(seeded)) if options["json"] else "\n".join(_lines(seeded)))


def _report(seeded: Seeded) -> dict[str, Any]:
    return {
        "agents": [
            {"name": agent.name, "clinic": agent.clinic.name, "path": f"/talk/{agent.public_name}/"}
            for agent in seeded.agents
        ],
        "logins": [
            {
                "username": login.username,
                "password": login.password,
                "clinic": login.clinic,
                "role": login.role and str(login.role),
            }
            for login in seeded.logins
        ],
        "appointments_added": seeded.appointments_added,
        "silent_lines": seeded.silent_lines,
    }


def _lines(seeded: Seeded) -> list[str]:
    talks = [f"talk to {agent.name} of {agent.clinic.name}: /talk/{agent.public_name}/" for agent in seeded.agents]
    logins = [
        f"log in as {login.username} / {login.password} ({login.clinic or 'administrator of all'})"
        for login in seeded.logins
    ]
    return [*talks, *logins]
