"""The app that an installation under test has besides its own."""

from __future__ import annotations

from django.apps import AppConfig

from sessions_app import admission


class BenchConfig(AppConfig):
    name = "bench"

    def ready(self) -> None:
        # What a core carries is to be found, not how many a process is willing to take.
        admission.MAX_CALLS = 10_000
        admission.MAX_RESIDENT_BYTES *= 10
