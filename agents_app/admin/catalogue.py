"""The models and voices that receptionists choose from: rows of the installation."""

from __future__ import annotations

from django.contrib import admin

from agents_app.admin.scoping import PlatformAdmin
from agents_app.models import RealtimeModel, Voice


@admin.register(RealtimeModel)
class RealtimeModelAdmin(PlatformAdmin):
    list_display = ("label", "name", "reasoning", "parallel_tools", "shutdown_on")
    search_fields = ("name", "label")


@admin.register(Voice)
class VoiceAdmin(PlatformAdmin):
    list_display = ("label", "name", "recommended", "shutdown_on")
    search_fields = ("name", "label")
