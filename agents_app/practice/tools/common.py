"""What several tools share: who the caller is, what an offered slot looks like, how a refusal is said."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from django.utils.translation import gettext as _

from agents_app.practice import booking
from agents_app.practice.booking import By
from agents_app.practice.models import Patient, Provider, SlotOffer, VisitType
from agents_app.practice.models.diary import DoneBy
from agents_app.practice.slot_ids import SlotRef
from agents_app.practice.slots import Slot
from agents_app.practice.wording import said_choice, said_moment
from agents_app.tools import ToolContext, ToolError

P = ParamSpec("P")
T = TypeVar("T")


def identified(context: ToolContext) -> Patient:
    """Return the patient of this call. Raises ToolError until two identifiers have matched."""
    patient = None
    if context.patient_id is not None:
        patient = Patient.objects.filter(clinic=context.clinic, pk=context.patient_id).first()
    if patient is None:
        raise ToolError(
            "patient_not_identified",
            _("To do that I need your full name and your date of birth first. Use find_patient."),
        )
    return patient


def by_call(context: ToolContext) -> By:
    return By(kind=DoneBy.CALL, call_id=context.call_id)


def slots_data(context: ToolContext, visit_type: VisitType, found: Iterable[Slot]) -> list[dict[str, Any]]:
    """Return offered slots as the model sees them, in the order in which they are said, and remember that order."""
    found = list(found)
    names = Provider.objects.filter(clinic=context.clinic).in_bulk({slot.provider for slot in found})
    data = [
        {
            "slot_id": str(SlotRef(visit_type.pk, slot.provider, slot.starts)),
            "starts": said_moment(slot.starts, context.zone),
            "on_date": slot.local(context.zone).date().isoformat(),
            "provider": names[slot.provider].said,
        }
        for slot in found
    ]
    if data:
        SlotOffer.objects.update_or_create(
            call_id=context.call_id,
            defaults={"clinic": context.clinic, "slot_ids": [row["slot_id"] for row in data]},
        )
    return data


def said_slots(data: Sequence[dict[str, Any]]) -> str:
    """Say the times, and the provider once when it is the same for all."""
    with_provider = _("%(time)s with %(provider)s")
    if len({row["provider"] for row in data}) == 1:
        return with_provider % {"time": said_choice([row["starts"] for row in data]), "provider": data[0]["provider"]}
    return said_choice([with_provider % {"time": row["starts"], "provider": row["provider"]} for row in data])


def take_message_instead(reason: str) -> ToolError:
    return ToolError("nothing_to_book", _("%(reason)s I can take a message for the team.") % {"reason": reason})


def sayable(do: Callable[P, T]) -> Callable[P, T]:
    """Turn a refusal of the diary into what the caller may hear. The first argument is the ToolContext."""

    @wraps(do)
    def telling(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return do(*args, **kwargs)
        except booking.BookingError as error:
            context = args[0]
            assert isinstance(context, ToolContext)
            raise _tool_error(context, error) from None

    return telling


def _tool_error(context: ToolContext, error: booking.BookingError) -> ToolError:
    if isinstance(error, booking.SlotTaken):
        return _slot_taken(context, error)
    code, message, retryable = _REFUSALS[type(error)]
    return ToolError(code, message(), retryable=retryable)


def _slot_taken(context: ToolContext, error: booking.SlotTaken) -> ToolError:
    data = slots_data(context, error.visit_type, error.next_slots)
    if not data:
        return ToolError("slot_taken", _("That time is not free, and no other is. I can take a message for the team."))
    message = _("That time is not free. The next free times are %(slots)s.") % {"slots": said_slots(data)}
    return ToolError("slot_taken", message, data={"slots": data})


_REFUSALS: dict[type[booking.BookingError], tuple[str, Callable[[], str], bool]] = {
    booking.SlotUnknown: (
        "slot_unknown",
        lambda: _("That time was not on offer. Let me look for free times again."),
        False,
    ),
    booking.OtherVisit: (
        "other_visit",
        lambda: _("An appointment can only be moved to a time for the same kind of visit."),
        False,
    ),
    booking.PatientBusy: (
        "patient_busy",
        lambda: _("You already have an appointment at that time. Would another time suit you?"),
        False,
    ),
    booking.AppointmentGone: (
        "appointment_not_found",
        lambda: _("I find no such appointment still to come."),
        False,
    ),
    booking.DiaryUnavailable: (
        "diary_unavailable",
        lambda: _("I cannot reach the diary, so nothing was changed. I can take a message for the team."),
        True,
    ),
    booking.NotVerified: (
        "not_verified",
        lambda: _("I am not certain that this was entered correctly. The team will check it and call you back."),
        False,
    ),
}
