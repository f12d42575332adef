"""The models, voices and voice services that managers choose from: rows of the installation."""

from __future__ import annotations

from django.contrib import admin

from agents_app.admin.scoping import PlatformAdmin
from agents_app.models import RealtimeModel, Voice, VoiceService


@admin.register(RealtimeModel)
class RealtimeModelAdmin(PlatformAdmin):
    list_display = ("label", "name", "reasoning", "parallel_tools", "shutdown_on")
    search_fields = ("name", "label")


@admin.register(Voice)
class VoiceAdmin(PlatformAdmin):
    list_display = ("label", "name", "recommended", "shutdown_on")
    search_fields = ("name", "label")


@admin.register(VoiceService)
class VoiceServiceAdmin(PlatformAdmin):
    list_display = ("name", "base_url", "key_style")
    search_fields = ("name", "base_url")
