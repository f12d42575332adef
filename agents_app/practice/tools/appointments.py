"""Books, lists, moves and cancels the appointments of the patient whom the call has identified."""

from __future__ import annotations

from typing import Annotated, Any

from django.utils.translation import gettext as _
from pydantic import Field

from agents_app.practice import booking, slot_ids
from agents_app.practice.matching import choose
from agents_app.practice.models import Appointment, Patient, SlotOffer
from agents_app.practice.slot_ids import SlotRef
from agents_app.practice.tools.arguments import AppointmentId, Arguments, NoArguments
from agents_app.practice.tools.common import by_call, identified, sayable
from agents_app.practice.wording import said_choice, said_day, said_list, said_moment, said_time
from agents_app.tools import Recap, ToolContext, ToolError, ToolOutcome, tool

LISTED_MAX = 10

_IDENTIFIED_FIRST = "The caller must be identified first, with find_patient, or with register_patient when new."

SlotId = Annotated[
    str,
    Field(
        min_length=1,
        max_length=80,
        title="Appointment time",
        description="The slot_id that find_slots returned for the time the caller chose",
    ),
]


class BookAppointment(Arguments):
    slot_id: SlotId


class RescheduleAppointment(Arguments):
    appointment_id: AppointmentId
    slot_id: SlotId


class CancelAppointment(Arguments):
    appointment_id: AppointmentId


@sayable
def recap_booking(context: ToolContext, arguments: BookAppointment) -> Recap:
    patient = identified(context)
    ref, _from_words = _slot_ref(context, arguments.slot_id)
    plan = booking.plan(context.clinic, patient=patient, ref=ref, now=context.now)
    said = _Said(context, plan.visit_type.said, plan.provider.said, ref)
    question = _("I will book %(visit)s for %(patient)s with %(provider)s on %(day)s at %(time)s. Shall I go ahead?")
    lines = [(_("Visit"), plan.visit_type.name), (_("For"), patient.full_name), *said.lines]
    if context.clinic.arrival_note and _is_new(patient, context):
        lines.append((_("Before your visit"), context.clinic.arrival_note))
    return Recap(
        question=question % {**said.words, "patient": patient.full_name},
        lines=tuple(lines),
        spoken=said.pieces(plan.visit_type.name),
        values={"patient_id": patient.pk, "slot_id": str(ref)},
    )


@tool(
    "book_appointment",
    f"Book an appointment for the caller, such as a cleaning or a check-up. {_IDENTIFIED_FIRST}",
    BookAppointment,
    recap=recap_booking,
    working="Booking your appointment",
    outcome="booked",
)
@sayable
def book_appointment(context: ToolContext, arguments: BookAppointment) -> ToolOutcome:
    patient = identified(context)
    ref, filled = _slot_ref(context, arguments.slot_id)
    new = _is_new(patient, context)
    row = booking.book(context.clinic, patient=patient, ref=ref, by=by_call(context), now=context.now)
    say = _("You are booked for %(when)s with %(provider)s. Your reference is %(reference)s.") % _words(context, row)
    if new and context.clinic.arrival_note:
        say = f"{say} {context.clinic.arrival_note}"
    return ToolOutcome({**_data(context, row), "say": say}, card=_card(context, row, _("Booked")), filled=filled)


@tool(
    "list_appointments",
    f"List the caller's own appointments that are still to come. {_IDENTIFIED_FIRST}",
    NoArguments,
    working="Looking at your appointments",
)
@sayable
def list_appointments(context: ToolContext, arguments: NoArguments) -> ToolOutcome:
    rows = Appointment.objects.filter(clinic=context.clinic, patient=identified(context)).upcoming(context.now)
    found = list(rows.select_related("provider", "visit_type")[:LISTED_MAX])
    data = [_data(context, row) for row in found]
    if not data:
        return ToolOutcome({"appointments": [], "say": _("You have no appointment with us.")})
    said = [
        _("%(visit)s on %(when)s") % {"visit": row.visit_type.said, "when": said_moment(row.starts, context.zone)}
        for row in found
    ]
    return ToolOutcome({"appointments": data, "say": _("You have %(list)s.") % {"list": said_list(said)}})


@sayable
def recap_move(context: ToolContext, arguments: RescheduleAppointment) -> Recap:
    patient = identified(context)
    moving = _own(context, patient, arguments.appointment_id)
    ref, _from_words = _slot_ref(context, arguments.slot_id)
    plan = booking.plan(context.clinic, patient=patient, ref=ref, now=context.now, moving=moving)
    said = _Said(context, plan.visit_type.said, plan.provider.said, ref)
    question = _(
        "I will move the appointment of %(patient)s for %(visit)s from %(old)s to %(day)s at %(time)s "
        "with %(provider)s. Shall I go ahead?"
    )
    old = said_moment(moving.starts, context.zone)
    return Recap(
        question=question % {**said.words, "patient": patient.full_name, "old": old},
        lines=((_("Visit"), plan.visit_type.name), (_("For"), patient.full_name), (_("Until now"), old), *said.lines),
        spoken=(old, *said.pieces(plan.visit_type.name)),
        values={"patient_id": patient.pk, "appointment_id": moving.pk, "slot_id": str(ref)},
    )


@tool(
    "reschedule_appointment",
    f"Reschedule: move or change one of the caller's appointments to another free time. {_IDENTIFIED_FIRST}",
    RescheduleAppointment,
    recap=recap_move,
    working="Moving your appointment",
    outcome="rescheduled",
)
@sayable
def reschedule_appointment(context: ToolContext, arguments: RescheduleAppointment) -> ToolOutcome:
    patient = identified(context)
    ref, filled = _slot_ref(context, arguments.slot_id)
    row = booking.reschedule(
        context.clinic,
        patient=patient,
        appointment_id=arguments.appointment_id,
        ref=ref,
        by=by_call(context),
        now=context.now,
    )
    say = _("Your appointment is now on %(when)s with %(provider)s. Your reference is %(reference)s.")
    data = {**_data(context, row), "say": say % _words(context, row)}
    return ToolOutcome(data, card=_card(context, row, _("Moved")), filled=filled)


@sayable
def recap_cancellation(context: ToolContext, arguments: CancelAppointment) -> Recap:
    patient = identified(context)
    row = _own(context, patient, arguments.appointment_id)
    said = _Said(context, row.visit_type.said, row.provider.said, SlotRef(0, 0, row.starts))
    late = booking.is_late(row, context.now)
    policy = _cancellation_policy(context) if late else ""
    question = _("I will cancel the appointment of %(patient)s for %(visit)s with %(provider)s on %(day)s at %(time)s.")
    offer = _("I could also move it to another time instead. Shall I cancel it?")
    sentences = (question % {**said.words, "patient": patient.full_name}, policy, offer)
    lines = [(_("Cancel"), row.visit_type.name), (_("For"), patient.full_name), *said.lines]
    return Recap(
        question=" ".join(sentence for sentence in sentences if sentence),
        lines=(*lines, (_("Please note"), policy)) if policy else tuple(lines),
        spoken=said.pieces(row.visit_type.name),
        values={"patient_id": patient.pk, "appointment_id": row.pk, "starts": row.starts.isoformat(), "late": late},
    )


@tool(
    "cancel_appointment",
    f"Cancel one of the caller's appointments. {_IDENTIFIED_FIRST}",
    CancelAppointment,
    recap=recap_cancellation,
    working="Cancelling your appointment",
    outcome="cancelled",
)
@sayable
def cancel_appointment(context: ToolContext, arguments: CancelAppointment) -> ToolOutcome:
    row = booking.cancel(
        context.clinic,
        patient=identified(context),
        appointment_id=arguments.appointment_id,
        by=by_call(context),
        now=context.now,
    )
    late = booking.is_late(row, context.now)
    say = _("Your appointment on %(when)s is cancelled.") % _words(context, row)
    data = {**_data(context, row), "late": late, "say": say}
    return ToolOutcome(data, card=_card(context, row, _("Cancelled")))


class _Said:
    """The words for one visit at one time, as the questions use them."""

    def __init__(self, context: ToolContext, visit: str, provider: str, ref: SlotRef) -> None:
        day = said_day(ref.starts.astimezone(context.zone).date())
        self.words = {"visit": visit, "provider": provider, "day": day, "time": said_time(ref.starts, context.zone)}

    @property
    def lines(self) -> tuple[tuple[str, str], ...]:
        when = _("%(day)s at %(time)s") % self.words
        return (_("When"), when), (_("With"), self.words["provider"])

    def pieces(self, visit_name: str) -> tuple[str, ...]:
        """Return what the spoken recap must hold. The visit without its article, where its name is in its wording."""
        visit = self.words["visit"]
        at = visit.lower().find(visit_name.lower())
        named = visit if at < 0 else visit[at : at + len(visit_name)]
        return named, self.words["day"], self.words["time"], self.words["provider"]


def _slot_ref(context: ToolContext, words: str) -> tuple[SlotRef, dict[str, str]]:
    """Return the slot that is meant, and whether it was found by the caller's words ("the second one", "nine")."""
    ref = slot_ids.parse(words)
    if ref is not None:
        return ref, {}
    offer = SlotOffer.objects.filter(clinic=context.clinic, call_id=context.call_id).first()
    offered = [ref for text in (offer.slot_ids if offer else ()) if (ref := slot_ids.parse(text)) is not None]
    place = choose(words, [slot.starts.astimezone(context.zone) for slot in offered])
    if place is None:
        times = said_choice([said_moment(slot.starts, context.zone) for slot in offered])
        message = _("Which time would you like: %(times)s?") if offered else _("Let me look for free times first.")
        raise ToolError("slot_unclear", message % {"times": times})
    return offered[place], {"slot_id": "the caller's choice among the offered times"}


def _own(context: ToolContext, patient: Patient, appointment_id: int) -> Appointment:
    return booking.upcoming_appointment(context.clinic, patient=patient, appointment_id=appointment_id, now=context.now)


def _is_new(patient: Patient, context: ToolContext) -> bool:
    """Whether the patient has never been here. A visit only booked is none."""
    return not patient.appointments.filter(starts__lte=context.now).holding().exists()


def _cancellation_policy(context: ToolContext) -> str:
    """Return the line of the clinic's policies that speaks of cancelling, or ""."""
    word = _("cancel")
    lines = (line.strip() for line in context.clinic.policies.splitlines())
    return next((line for line in lines if word in line.lower()), "")


def _data(context: ToolContext, row: Appointment) -> dict[str, Any]:
    return {
        "appointment_id": row.pk,
        "visit_type": row.visit_type.name,
        "starts": said_moment(row.starts, context.zone),
        "provider": row.provider.said,
        "status": row.status,
    }


def _words(context: ToolContext, row: Appointment) -> dict[str, str]:
    when = said_moment(row.starts, context.zone)
    return {"when": when, "provider": row.provider.said, "reference": row.reference}


def _card(context: ToolContext, row: Appointment, done: str) -> tuple[tuple[str, str], ...]:
    where = context.clinic.address
    return (
        (done, row.visit_type.name),
        (_("When"), said_moment(row.starts, context.zone)),
        (_("With"), row.provider.said),
        *(((_("Where"), where),) if where else ()),
        (_("Reference"), row.reference),
    )
