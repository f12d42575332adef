"""The practice's own data: who is treated, by whom, where, when. Knows nothing of calls but their UUIDs.

An appointment is made and moved through `agents_app.practice.booking`, which checks it against the slot engine; what
holds its time is the database itself (`AppointmentClaim`).
"""

from agents_app.practice.models.diary import Appointment, AppointmentChange, AppointmentClaim
from agents_app.practice.models.offers import SlotOffer
from agents_app.practice.models.people import LookupAttempt, Patient
from agents_app.practice.models.resources import Closure, Operatory, Provider, ProviderSchedule, VisitType
from agents_app.practice.models.tasks import Task

__all__ = [
    "Appointment",
    "AppointmentChange",
    "AppointmentClaim",
    "Closure",
    "LookupAttempt",
    "Operatory",
    "Patient",
    "Provider",
    "ProviderSchedule",
    "SlotOffer",
    "Task",
    "VisitType",
]
