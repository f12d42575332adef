"""Two finished calls of the demo's second clinic: staff of the first one must never meet them."""

from __future__ import annotations

from datetime import datetime, timedelta

from agents_app.models import Agent, AgentVersion
from agents_app.practice.models import Task
from agents_app.practice.tasks import leave_task
from sessions_app.models import CallSession, Item

CALLER, AGENT = Item.Speaker.CALLER, Item.Speaker.AGENT
SPEECH_MS_A_CHARACTER = 65
PAUSE_MS = 600

ASKED = (
    (AGENT, "Seaview Family Clinic, this is Max. I am an automated assistant."),
    (CALLER, "Hi, until when are you open on Friday?"),
    (AGENT, "We are open until 6 PM on Friday. Is there anything else?"),
    (CALLER, "No, that was all. Thank you."),
    (AGENT, "Take care. Goodbye!"),
)
LEFT_A_MESSAGE = (
    (AGENT, "Seaview Family Clinic, this is Max. I am an automated assistant."),
    (CALLER, "Could the nurse call me back about a form?"),
    (AGENT, "Of course. What is your name?"),
    (CALLER, "Luis Ortega, 415 555 0162."),
    (AGENT, "I have left the message for the nurse."),
    (CALLER, "Great, bye."),
)


def add_demo_calls(agent: Agent, *, now: datetime) -> int:
    """Add the calls when the receptionist has none, and return how many that were."""
    version = agent.live_version
    if version is None or CallSession.objects.filter(version__agent=agent).exists():
        return 0
    _add_call(version, ASKED, CallSession.Outcome.ANSWERED, started_at=now - timedelta(days=1, hours=3))
    left = _add_call(version, LEFT_A_MESSAGE, CallSession.Outcome.MESSAGE, started_at=now - timedelta(hours=5))
    leave_task(
        clinic=agent.clinic,
        kind=Task.Kind.CALLBACK,
        text="Would like a call back about a form.",
        call_id=left.pk,
        name="Luis Ortega",
        phone="+1 415 555 0162",
    )
    return 2


def _add_call(
    version: AgentVersion, lines: tuple[tuple[str, str], ...], outcome: str, *, started_at: datetime
) -> CallSession:
    call = CallSession.objects.create(
        clinic=version.agent.clinic,
        version=version,
        state=CallSession.State.ENDED,
        started_at=started_at,
        end_reason=CallSession.EndReason.GOODBYE,
        outcome=outcome,
        channel=CallSession.Channel.WEB,
    )
    at_ms = 0
    for position, (speaker, text) in enumerate(lines):
        audio_ms = len(text) * SPEECH_MS_A_CHARACTER
        Item.objects.create(
            session=call,
            item_id=f"item_demo_{position}",
            position=position,
            speaker=speaker,
            source=Item.Source.SPEECH,
            text=text,
            started_ms=at_ms,
            ended_ms=at_ms + audio_ms,
            audio_ms=audio_ms if speaker == AGENT else 0,
        )
        at_ms += audio_ms + PAUSE_MS
    call.ended_at, call.duration_ms = started_at + timedelta(milliseconds=at_ms), at_ms
    call.state_history = [[0, "connecting"], [0, "live"], [at_ms, "ended"]]
    call.save(update_fields=["ended_at", "duration_ms", "state_history"])
    return call
