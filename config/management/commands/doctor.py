"""`manage.py doctor`: one line for each thing that a call needs, tried for real; ends with 1 when one fails."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from config.doctor import here, public, upstream
from config.doctor.findings import Finding, State, Step, run


class Command(BaseCommand):
    help = "Tries settings, database, Redis, clock, disk, worker, keys, certificate and page; says what to do."
    requires_system_checks = ()  # it runs them itself, and goes on after one that fails

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--url", help="the public address (default: https:// and the first of ALLOWED_HOSTS)")
        parser.add_argument("--json", action="store_true", help="one object for each line")

    def handle(self, *args: Any, **options: Any) -> None:
        url = options["url"] if options["url"] is not None else public.default_url()
        failures = 0
        for finding in run(steps(url.rstrip("/"))):
            failures += finding.state is State.FAILED
            self.stdout.write(_as_json(finding) if options["json"] else finding.line())
            self.stdout.flush()
        if failures:
            sys.exit(1)


def steps(url: str) -> list[Step]:
    return [
        Step("database", here.check_database),
        Step("settings", here.check_settings),
        Step("triggers", here.check_triggers),
        Step("redis", here.check_redis, needs_database=False),
        Step("clock", here.check_database_clock),
        Step("disk", here.check_disk, needs_database=False),
        Step("static files", here.check_static_files, needs_database=False),
        Step("worker", here.check_worker),
        Step("upstream", upstream.check_upstream),
        Step("server", lambda: public.check_public(url)),
    ]


def _as_json(finding: Finding) -> str:
    return json.dumps({"step": finding.step, "state": finding.state.name.lower(), "said": finding.said})
