"""The one way in to rows that belong to a clinic."""

from __future__ import annotations

from typing import Self, TypeVar

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import models

from agents_app.models import Clinic

Row = TypeVar("Row", bound=models.Model)


class ClinicScopedQuerySet(models.QuerySet[Row]):
    """Rows with a `clinic` of their own."""

    def visible_to(self, user: AbstractBaseUser | AnonymousUser) -> Self:
        """Return the rows of the clinics that `user` belongs to: another clinic's row does not exist."""
        return self.filter(clinic__in=Clinic.objects.visible_to(user))
