"""Which clinics the user of a request reaches in the admin, and as what: asked once a request."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest

from agents_app.models import Clinic

_KEPT_AS = "frontdesk_reach"


@dataclass(frozen=True)
class Reach:
    """`platform`: a superuser, who sets clinics up, but reads patient data only where a membership says so."""

    managed: frozenset[int]
    visible: frozenset[int]
    platform: bool


def reach_of(request: HttpRequest) -> Reach:
    kept: Reach | None = request.__dict__.get(_KEPT_AS)
    if kept is None:
        kept = Reach(
            managed=frozenset(Clinic.objects.managed_by(request.user).values_list("pk", flat=True)),
            visible=frozenset(Clinic.objects.visible_to(request.user).values_list("pk", flat=True)),
            platform=request.user.is_active and request.user.is_superuser,
        )
        request.__dict__[_KEPT_AS] = kept
    return kept
