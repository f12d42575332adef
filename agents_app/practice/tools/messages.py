"""Takes a message for the team, and ends the call."""

from __future__ import annotations

from typing import Annotated, Literal

from django.utils.translation import gettext as _
from pydantic import Field

from agents_app.practice.models import Patient, Task
from agents_app.practice.normal import phone_digits, spoken_phone, tidy_name
from agents_app.practice.tasks import leave_task
from agents_app.practice.tools.arguments import Arguments, NoArguments
from agents_app.tools import Recap, Then, ToolContext, ToolError, ToolOutcome, tool

MESSAGES_MAX = 5  # a call


class TakeMessage(Arguments):
    message: Annotated[
        str, Field(min_length=1, max_length=400, title="Message", description="What the team should know, in full")
    ]
    caller_name: Annotated[
        str, Field(min_length=1, max_length=160, title="Name", description="Who leaves the message: the full name")
    ]
    phone: Annotated[
        str, Field(min_length=1, max_length=40, title="Phone number", description="Where the team can call back")
    ]
    kind: Annotated[
        Literal["message", "callback"],
        Field(title="Kind", description="callback when the caller asks to be called back"),
    ] = "message"
    priority: Annotated[
        Literal["normal", "urgent"], Field(title="Priority", description="urgent only when it cannot wait a day")
    ] = "normal"


def recap_message(context: ToolContext, arguments: TakeMessage) -> Recap:
    name, phone = _checked(arguments)
    _refuse_flood(context)
    message = _sentence(arguments.message)
    question = _(
        'I will leave this message for the team: "%(message)s" From %(name)s, phone %(phone)s. Shall I send it?'
    )
    if arguments.kind == "callback":
        question = _(
            'I will ask the team to call %(name)s back on %(phone)s about this: "%(message)s" Shall I send it?'
        )
    return Recap(
        question=question % {"message": message, "name": name, "phone": phone},
        lines=((_("Message"), message), (_("Name"), name), (_("Phone number"), phone)),
        spoken=(message, name, phone),
        values={
            "kind": arguments.kind,
            "priority": arguments.priority,
            "message": message,
            "caller_name": name,
            "phone": phone_digits(arguments.phone),
        },
    )


@tool(
    "take_message",
    "Take a message for the team, or a request to be called back, when something cannot be done in this call.",
    TakeMessage,
    recap=recap_message,
    working="Leaving your message",
    outcome="message",
)
def take_message(context: ToolContext, arguments: TakeMessage) -> ToolOutcome:
    name, phone = _checked(arguments)
    _refuse_flood(context)
    task = leave_task(
        clinic=context.clinic,
        kind=arguments.kind,
        text=_sentence(arguments.message),
        call_id=context.call_id,
        name=name,
        phone=phone,
        priority=arguments.priority,
        patient=Patient.objects.filter(clinic=context.clinic, pk=context.patient_id or 0).first(),
    )
    return ToolOutcome(
        {"say": _("Your message is with the team.")},
        card=((_("Message left"), task.text), (_("From"), f"{name}, {phone}"), (_("Reference"), task.reference)),
    )


@tool("end_call", "End the call and hang up, when the caller says goodbye or needs nothing more.", NoArguments)
def end_call(context: ToolContext, arguments: NoArguments) -> ToolOutcome:
    return ToolOutcome({"say": _("Goodbye.")}, then=Then.HANG_UP)


def _checked(arguments: TakeMessage) -> tuple[str, str]:
    """Return name and phone number as they are read out. Raises ToolError that says what to ask for again."""
    try:
        name = tidy_name(arguments.caller_name)
    except ValueError:
        raise ToolError("name_wrong", _("I did not get the name. Could you say it again?")) from None
    digits = phone_digits(arguments.phone)
    if digits is None:
        raise ToolError("phone_wrong", _("That is not a whole phone number. Could you say it again, digit by digit?"))
    return name, spoken_phone(digits)


def _sentence(words: str) -> str:
    """Return the message as it is read out and kept: single blanks, and a full stop where none ends it."""
    text = " ".join(words.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _refuse_flood(context: ToolContext) -> None:
    left = Task.objects.filter(clinic=context.clinic, call_id=context.call_id).exclude(kind=Task.Kind.CHECK).count()
    if left >= MESSAGES_MAX:
        raise ToolError("too_many_messages", _("The team has enough messages from this call."))
