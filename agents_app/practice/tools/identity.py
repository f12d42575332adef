"""Finds out who is calling, or registers somebody new. Tells nothing before two identifiers match."""

from __future__ import annotations

from typing import Annotated

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.translation import gettext as _
from pydantic import Field

from agents_app.practice import lookup
from agents_app.practice.normal import phone_digits, plausible_birth_date, spoken_phone, tidy_name
from agents_app.practice.tools.arguments import Arguments, Day
from agents_app.practice.wording import said_full_date
from agents_app.tools import Recap, ToolContext, ToolError, ToolOutcome, tool

Born = Annotated[Day, Field(title="Date of birth", description="The caller's date of birth")]
Phone = Annotated[str, Field(max_length=40, title="Phone number", description="The caller's phone number")]


class FindPatient(Arguments):
    first_name: Annotated[
        str,
        Field(max_length=80, title="First name", description="The caller's first name; empty if only a phone is given"),
    ]
    last_name: Annotated[
        str,
        Field(max_length=80, title="Last name", description="The caller's last name; empty if only a phone is given"),
    ]
    date_of_birth: Born
    phone: Annotated[
        str | None,
        Field(max_length=40, title="Phone number", description="The caller's phone number, if they give it"),
    ] = None


class RegisterPatient(Arguments):
    first_name: Annotated[
        str, Field(min_length=1, max_length=80, title="First name", description="The caller's first name")
    ]
    last_name: Annotated[
        str, Field(min_length=1, max_length=80, title="Last name", description="The caller's last name")
    ]
    date_of_birth: Born
    phone: Phone
    email: Annotated[
        str | None, Field(max_length=254, title="Email", description="The caller's email address, if they give it")
    ] = None


@tool(
    "find_patient",
    "Look up who is calling in the patient records, by full name and date of birth, or phone and date of birth.",
    FindPatient,
    working="Looking up your record",
)
def find_patient(context: ToolContext, arguments: FindPatient) -> ToolOutcome:
    details = _details(context, arguments)
    try:
        found = lookup.find(context.clinic, details, call_id=context.call_id)
    except lookup.TooManyAttempts:
        raise _spent() from None
    if not found.patients:
        message = _(
            "I find no record with these details. Are your name and date of birth right, or are you a new patient?"
        )
        raise ToolError("patient_not_found", message)
    if len(found.patients) > 1:
        raise _several(details)
    patient = found.patients[0]
    return ToolOutcome(
        {"first_name": patient.first_name, "say": _("Thank you, %(name)s.") % {"name": patient.first_name}},
        patient_id=patient.pk,
        confidence=found.confidence if found.confidence < 1 else None,
    )


def recap_registration(context: ToolContext, arguments: RegisterPatient) -> Recap:
    details = _details(context, arguments)
    _refuse_when_spent(context)
    name = f"{details.first_name} {details.last_name}"
    born, phone = said_full_date(details.date_of_birth), spoken_phone(details.phone_digits or "")
    email = _email(arguments)
    question = _("I will register %(name)s, born %(born)s, phone %(phone)s. Shall I go ahead?")
    if email:
        question = _("I will register %(name)s, born %(born)s, phone %(phone)s, email %(email)s. Shall I go ahead?")
    lines = ((_("Name"), name), (_("Date of birth"), born), (_("Phone number"), phone))
    return Recap(
        question=question % {"name": name, "born": born, "phone": phone, "email": email},
        lines=(*lines, (_("Email"), email)) if email else lines,
        spoken=(name, born, phone, *([email] if email else [])),
        values={
            "first_name": details.first_name,
            "last_name": details.last_name,
            "date_of_birth": details.date_of_birth.isoformat(),
            "phone": details.phone_digits,
            "email": email,
        },
    )


@tool(
    "register_patient",
    "Register the caller as a new patient of the clinic.",
    RegisterPatient,
    recap=recap_registration,
    working="Registering you",
)
def register_patient(context: ToolContext, arguments: RegisterPatient) -> ToolOutcome:
    details = _details(context, arguments)
    try:
        patient, created = lookup.register(
            context.clinic, details, phone=arguments.phone, email=_email(arguments), call_id=context.call_id
        )
    except lookup.TooManyAttempts:
        raise _spent() from None
    say = _("Thank you, %(name)s, you are registered.") if created else _("Thank you, %(name)s, we have your record.")
    return ToolOutcome(
        {"first_name": patient.first_name, "new_patient": created, "say": say % {"name": patient.first_name}},
        patient_id=patient.pk,
        card=((_("Registered") if created else _("On record"), patient.full_name), (_("Reference"), patient.reference)),
    )


def _details(context: ToolContext, arguments: FindPatient | RegisterPatient) -> lookup.Details:
    """Return the caller's details in one form. Raises ToolError that names what to ask for."""
    if not plausible_birth_date(arguments.date_of_birth, today=context.now.astimezone(context.zone).date()):
        raise ToolError("birth_date_wrong", _("That cannot be a date of birth. Could you say it again?"))
    digits = phone_digits(arguments.phone) if arguments.phone else None
    if arguments.phone and digits is None:
        raise ToolError("phone_wrong", _("That is not a whole phone number. Could you say it again, digit by digit?"))
    named = bool(arguments.first_name and arguments.last_name)
    if not named and digits is None:
        raise ToolError(
            "details_missing",
            _("May I have your full name, or your phone number?"),
            data={"ask_for": ["first_name", "last_name", "phone"]},
        )
    return lookup.Details(_name(arguments.first_name), _name(arguments.last_name), arguments.date_of_birth, digits)


def _name(text: str) -> str:
    try:
        return tidy_name(text) if text else ""
    except ValueError:
        raise ToolError(
            "name_wrong", _("I did not get the name. Could you say your first and last name again?")
        ) from None


def _email(arguments: RegisterPatient) -> str:
    email = (arguments.email or "").lower()
    if email:
        try:
            validate_email(email)
        except ValidationError:
            raise ToolError("email_wrong", _("That is not an email address. Could you say it again?")) from None
    return email


def _refuse_when_spent(context: ToolContext) -> None:
    try:
        lookup.refuse_when_spent(context.call_id, registering=True)
    except lookup.TooManyAttempts:
        raise _spent() from None


def _several(details: lookup.Details) -> ToolError:
    if not details.first_name:
        return ToolError("several_patients", _("May I have your first name?"), data={"ask_for": ["first_name"]})
    if not details.phone_digits:
        return ToolError("several_patients", _("May I have your phone number?"), data={"ask_for": ["phone"]})
    return ToolError("several_patients", _("The team must look this up. I can take a message."))


def _spent() -> ToolError:
    message = _("I cannot look you up any more in this call. I can take a message for the team.")
    return ToolError("too_many_attempts", message)
