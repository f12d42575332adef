"""Which keys of `DATA_KEYS` have encrypted something: one row each, with a value that only that key opens."""

from __future__ import annotations

from django.db import models

from agents_app.data_classes import DataClass


class DataKey(models.Model):
    data_classes = {DataClass.PUBLIC: "id key_id first_used_at", DataClass.SECRET: "sample"}

    key_id = models.CharField(max_length=12, unique=True)
    sample = models.TextField()
    first_used_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.key_id
