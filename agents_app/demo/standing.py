"""Finds what an earlier start has written: by the receptionist's public name, since a newcomer may rename the rest."""

from __future__ import annotations

from agents_app.demo.pack import CLINICS
from agents_app.models import Clinic

PUBLIC_NAMES = {pack.name: pack.agent.public_name for pack in CLINICS}


def standing_clinic(name: str) -> Clinic | None:
    """Return the clinic that the pack calls `name`, whatever it is called by now."""
    return Clinic.objects.filter(agents__public_name=PUBLIC_NAMES[name]).first()
