"""Who reads: a member of staff, or a clinic's program by its API token. Owns what each may see, and the note of it.

Every query of the review pages and the staff API begins here.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

from agents_app.models import Agent, ApiToken, Clinic
from agents_app.models.agents import AgentQuerySet
from agents_app.models.clinics import ClinicQuerySet
from sessions_app.models import CallSession, CallView
from sessions_app.models.calls import CallSessionQuerySet


@dataclass(frozen=True)
class Reader:
    """Exactly one of the two is given."""

    user: AbstractBaseUser | AnonymousUser | None = None
    token: ApiToken | None = None

    def calls(self) -> CallSessionQuerySet:
        if self.token is not None:
            return CallSession.objects.visible_to_token(self.token)
        return CallSession.objects.visible_to(self._person)

    def clinics(self) -> ClinicQuerySet:
        if self.token is not None:
            return Clinic.objects.filter(pk=self.token.clinic_id)
        return Clinic.objects.visible_to(self._person)

    def agents(self) -> AgentQuerySet:
        return Agent.objects.filter(clinic__in=self.clinics())

    def note(self, call: CallSession, door: CallView.Door) -> None:
        """Leave a row that says who read `call`. Before anything of it is shown: a fault later changes nothing."""
        CallView.objects.create(
            session=call, user_id=None if self.user is None else self.user.pk, api_token=self.token, door=door
        )

    @property
    def _person(self) -> AbstractBaseUser | AnonymousUser:
        return self.user if self.user is not None else AnonymousUser()
