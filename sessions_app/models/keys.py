"""Keys that begin one call each. Only a key's digest is kept."""

from __future__ import annotations

from django.db import models

from agents_app.data_classes import DataClass
from agents_app.models import Agent, ApiToken


class ClientSecret(models.Model):
    """A key of 60 seconds, for one call to one agent from one origin (or from none)."""

    data_classes = {
        DataClass.PUBLIC: "id agent created_at expires_at used_at api_token notice_sha256 notice_answer",
        DataClass.PERSONAL: "origin",
        DataClass.SECRET: "digest",
    }

    digest = models.CharField(max_length=64, unique=True)
    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="+")
    api_token = models.ForeignKey(ApiToken, on_delete=models.CASCADE, null=True, related_name="+")
    origin = models.CharField(max_length=200, blank=True)  # "" when it was asked for without one
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)
    used_at = models.DateTimeField(null=True)
    notice_sha256 = models.CharField(max_length=64, blank=True)
    notice_answer = models.CharField(max_length=10, blank=True)

    def __str__(self) -> str:
        return f"key {self.pk}"
