from __future__ import annotations

from django.apps import AppConfig


class PracticeConfig(AppConfig):
    name = "agents_app.practice"
    label = "practice"
    verbose_name = "Practice"
