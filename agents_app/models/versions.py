"""What was published: immutable versions, and their fixed lines as sound."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from agents_app.data_classes import DataClass
from agents_app.models.agents import Agent


def canonical_json(value: Any) -> str:
    """Return JSON whose text depends on the value alone, so that equal content has an equal hash."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class AgentVersion(models.Model):
    """What was published, for ever: no UPDATE (a trigger stands in the database) and no deletion (PROTECT)."""

    data_classes = {DataClass.PUBLIC: "id agent number content content_hash published_at published_by"}

    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField(_("number"))
    content = models.JSONField(_("content"))
    content_hash = models.CharField(_("content hash"), max_length=64)
    published_at = models.DateTimeField(_("published"), auto_now_add=True)
    published_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("by")
    )

    class Meta:
        verbose_name = _("version")
        ordering = ("-number",)
        constraints = (models.UniqueConstraint(fields=("agent", "number"), name="version_number_once_an_agent"),)

    def __str__(self) -> str:
        return f"{self.agent} v{self.number}"

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise models.ProtectedError("A published version is kept for ever", {self})


class Clip(models.Model):
    """A fixed line of a version as sound: PCM16, mono, 24 kHz. Played without any model."""

    data_classes = {DataClass.PUBLIC: "id version line text pcm"}

    version = models.ForeignKey(AgentVersion, on_delete=models.PROTECT, related_name="clips")
    line = models.CharField(max_length=64)  # one of FIXED_LINES, or "guardrail:<index>"
    text = models.CharField(max_length=300)
    pcm = models.BinaryField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("version", "line"), name="clip_once_a_line"),)

    def __str__(self) -> str:
        return f"{self.version} {self.line}"
