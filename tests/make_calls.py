"""Makes calls for tests: whole ones, as a booking leaves them, with any field replaced by keyword."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

from agents_app.models import Agent, AgentVersion, Clinic
from agents_app.practice.models import Patient
from sessions_app.models import CallPatient, CallSession, Event, Item, Recording, ToolCall
from tests.make import make_agent

STARTED = datetime(2026, 11, 20, 19, 5, tzinfo=UTC)  # a Friday, five past two in New York
DURATION_MS = 84_300

_numbers = count(1)


def make_version(agent: Agent, **fields: Any) -> AgentVersion:
    number = agent.versions.count() + 1
    version = AgentVersion.objects.create(
        agent=agent, **{"number": number, "content": {}, "content_hash": "0" * 64, **fields}
    )
    agent.live_version = version
    agent.save(update_fields=["live_version"])
    return version


def make_call(clinic: Clinic, **fields: Any) -> CallSession:
    """A bare call that was booked and ended, a minute newer than the last one made. `agent=` may be given."""
    agent = fields.pop("agent", None) or clinic.agents.first() or make_agent(clinic)
    version = agent.live_version or make_version(agent)
    started = fields.pop("started_at", STARTED + timedelta(minutes=next(_numbers)))
    return CallSession.objects.create(
        clinic=clinic,
        started_at=started,
        **{
            "version": version,
            "state": CallSession.State.ENDED,
            "ended_at": started + timedelta(milliseconds=DURATION_MS),
            "duration_ms": DURATION_MS,
            "end_reason": CallSession.EndReason.GOODBYE,
            "outcome": CallSession.Outcome.BOOKED,
            "channel": CallSession.Channel.WEB,
            "notice_answer": "accepted",
            "notice_at": started,
            "cost_microusd": 64_210,
            **fields,
        },
    )


def make_item(call: CallSession, text: str = "Hello", **fields: Any) -> Item:
    position = call.items.count() + 1
    return Item.objects.create(
        session=call,
        text=text,
        **{
            "item_id": f"item_{position:02}",
            "position": position,
            "speaker": Item.Speaker.CALLER,
            "source": Item.Source.SPEECH,
            "started_ms": position * 1_000,
            **fields,
        },
    )


def make_tool_call(call: CallSession, name: str = "find_slots", **fields: Any) -> ToolCall:
    n = call.tool_calls.count() + 1
    return ToolCall.objects.create(
        session=call,
        name=name,
        **{
            "call_id": f"call_{n:02}",
            "position": call.items.count(),
            "status": ToolCall.Status.OK,
            "arguments": "{}",
            "started_ms": n * 1_000,
            "duration_ms": 120,
            **fields,
        },
    )


def make_event(call: CallSession, kind: str = "session.updated", **fields: Any) -> Event:
    seq = call.events.count() + 1
    return Event.objects.create(
        session=call,
        type=kind,
        **{"seq": seq, "direction": Event.Direction.FROM_MODEL, "at_ms": seq * 100, **fields},
    )


def make_recording(call: CallSession, **fields: Any) -> Recording:
    """With peaks that follow the call's items, as real ones do."""
    return Recording.objects.create(
        session=call,
        **{
            "status": Recording.Status.READY,
            "file_name": f"{call.pk.hex}.m4a",
            "duration_ms": call.duration_ms,
            "size_bytes": 1_000_000,
            "peaks": peaks_of(call),
            **fields,
        },
    )


def peaks_of(call: CallSession) -> list[list[int]]:
    """Return ten pairs a second, caller and receptionist, loud where somebody speaks: syllables, and a little noise."""
    peaks = [[1, 0] for _ in range((call.duration_ms or 0) // 100 + 1)]
    for item in call.items.all():
        lane = 0 if item.speaker == Item.Speaker.CALLER else 1
        ended = item.started_ms + (item.audio_ms if item.heard_ms is None else item.heard_ms)
        for n in range(item.started_ms // 100, min(ended // 100, len(peaks) - 1)):
            syllable = abs(math.sin(n * 0.9 + lane)) * abs(math.sin(n * 0.23 + 1)) + 0.25 * abs(math.sin(n * 2.7))
            peaks[n][lane] = min(100, round(10 + 75 * syllable))
    return peaks


def make_patient(clinic: Clinic, **fields: Any) -> Patient:
    return Patient.objects.create(
        clinic=clinic,
        **{
            "first_name": "Maria",
            "last_name": "Santos",
            "date_of_birth": date(1988, 4, 12),
            "phone": f"+1 541 555 {next(_numbers):04}",
            **fields,
        },
    )


CALLER, AGENT = Item.Speaker.CALLER, Item.Speaker.AGENT
SPEECH, TYPED, BUTTON = Item.Source.SPEECH, Item.Source.TEXT, Item.Source.BUTTON

# speaker, source, started, lasts, delay, text
_BOOKING: list[tuple[str, str, int, int, int | None, str]] = [
    (
        AGENT,
        SPEECH,
        900,
        4_600,
        None,
        "Hello, this is Lexi at Barton Dental. I am an automated assistant. How can I help you today?",
    ),
    (CALLER, SPEECH, 6_400, 2_300, None, "Hi, I would like to book a cleaning, please."),
    (AGENT, SPEECH, 9_300, 4_100, 620, "Of course. May I have your full name and your date of birth?"),
    (CALLER, SPEECH, 14_200, 4_000, None, "Maria Santos, the twelfth of April nineteen eighty-eight."),
    (AGENT, SPEECH, 19_500, 2_600, 1_340, "Thank you, Maria. One moment while I look at the diary."),
    (
        AGENT,
        SPEECH,
        24_900,
        9_800,
        2_710,
        "I have Tuesday the twenty-fourth at ten in the morning with Dr. Adams, or Wednesday the twenty-fifth at half "
        "past two with Dr. Okafor. Would either of these suit you?",
    ),
    (CALLER, SPEECH, 31_200, 1_900, None, "Tuesday at ten, please."),
    (
        AGENT,
        SPEECH,
        34_600,
        8_200,
        710,
        "So that is a cleaning for Maria Santos on Tuesday, November 24, at 10:00 in the morning with Dr. Adams. "
        "Shall I book it?",
    ),
    (CALLER, BUTTON, 44_000, 0, None, "Yes"),
    (
        AGENT,
        SPEECH,
        46_300,
        7_400,
        880,
        "It is booked. Please come fifteen minutes early, since your health form is more than a year old.",
    ),
    (CALLER, SPEECH, 55_100, 1_400, None, ""),
    (AGENT, SPEECH, 58_000, 2_200, 640, "I am sorry, I did not catch that. Could you say it again?"),
    (CALLER, TYPED, 66_800, 0, None, "Can I park nearby?"),
    (
        AGENT,
        SPEECH,
        68_100,
        5_400,
        560,
        "Yes, there is free parking behind the building, with the entrance on Mill Lane.",
    ),
    (CALLER, SPEECH, 75_000, 1_600, None, "Great, thanks. Bye!"),
    (AGENT, Item.Source.FIXED, 77_700, 2_900, 490, "Thank you for calling Barton Dental. Goodbye."),
]


def make_booking(clinic: Clinic, **fields: Any) -> CallSession:
    """A whole call: a cleaning is booked; one reply is cut off, a line inaudible, a lookup fails and is repeated."""
    patient = fields.pop("patient", None) or make_patient(clinic)
    call = make_call(
        clinic,
        **{
            "usage": {
                "responses": 9,
                "text_in": 2_104,
                "text_cached": 18_432,
                "text_out": 611,
                "audio_in": 512,
                "audio_cached": 1_024,
                "audio_out": 986,
                "transcription_audio_in": 134,
                "transcription_text_out": 61,
            },
            "counters": {
                "input_audio_buffer.append": 2_107,
                "response.output_audio.delta": 391,
                "sound_ms": 84_280,
                "sound_missing_ms": 120,
                "sound_jitter_ms": 7,
                "page_silenced_ms": 5_400,
            },
            "state_history": [[0, "connecting"], [640, "live"], [80_900, "ending"], [DURATION_MS, "ended"]],
            "recording_kept": True,
            **fields,
        },
    )
    for speaker, source, started_ms, lasts_ms, delay_ms, text in _BOOKING:
        make_item(
            call,
            text,
            speaker=speaker,
            source=source,
            started_ms=started_ms,
            ended_ms=started_ms + lasts_ms,
            audio_ms=lasts_ms,
            first_audio_ms=delay_ms,
            transcript_state=Item.TranscriptState.DONE if text else Item.TranscriptState.FAILED,
        )
    call.items.filter(position=6).update(interrupted=True, heard_ms=6_100, heard_chars=97)
    _booking_tools(call, patient)
    _booking_events(call)
    CallPatient.objects.create(session=call, patient=patient)
    make_recording(call)
    return call


def _booking_tools(call: CallSession, patient: Patient) -> None:
    born = '{"name": "Maria Santos", "date_of_birth": "1988-04-12"}'
    make_tool_call(
        call,
        "find_patient",
        position=4,
        arguments=born,
        output={"status": "ok", "data": {"patient": patient.reference, "matched_by": ["name", "date_of_birth"]}},
        started_ms=18_400,
        duration_ms=64,
        confidence=0.93,
    )
    make_tool_call(
        call,
        "find_slots",
        position=5,
        status=ToolCall.Status.ERROR,
        error_code="timeout",
        arguments='{"visit_type": "cleaning", "from_date": "2026-11-23"}',
        output={"status": "error", "error_code": "timeout", "message": "The diary did not answer.", "retryable": True},
        started_ms=20_100,
        duration_ms=2_000,
    )
    make_tool_call(
        call,
        "find_slots",
        position=5,
        arguments='{"visit_type": "cleaning", "from_date": "2026-11-23"}',
        output={"status": "ok", "data": {"slots": ["Tuesday 10:00 am, Dr. Adams", "Wednesday 2:30 pm, Dr. Okafor"]}},
        filled={"duration_minutes": {"value": 60, "from": "visit type"}},
        started_ms=22_600,
        duration_ms=310,
    )
    make_tool_call(
        call,
        "book_appointment",
        position=9,
        arguments='{"slot": "S-1", "visit_type": "cleaning"}',
        output={"status": "ok", "data": {"appointment": "A-000042", "starts": "2026-11-24T10:00"}},
        started_ms=44_300,
        duration_ms=142,
        writes=True,
        confirmed_by="button",
    )


def _booking_events(call: CallSession) -> None:
    make_event(call, "session.updated", at_ms=610)
    for item in call.items.all():
        direction = Event.Direction.FROM_CALLER if item.speaker == CALLER else Event.Direction.FROM_MODEL
        make_event(
            call,
            "conversation.item.added",
            direction=direction,
            at_ms=item.started_ms,
            fields={"item_id": item.item_id},
        )
    make_event(
        call,
        "confirmation.button",
        direction=Event.Direction.OWN,
        at_ms=44_050,
        fields={"answer": "yes"},
    )


def make_emergency(clinic: Clinic, **fields: Any) -> CallSession:
    """A call that a guardrail ended: chest pain, the clinic's fixed line, nothing booked."""
    reasons = {"outcome": CallSession.Outcome.EMERGENCY, "end_reason": CallSession.EndReason.EMERGENCY}
    call = make_call(clinic, **{**reasons, "duration_ms": 21_000, "cost_microusd": 9_400, **fields})
    make_item(call, "Hello, this is Lexi.", speaker=AGENT, started_ms=800, audio_ms=3_000)
    make_item(call, "I have chest pain and my arm is numb.", started_ms=5_100, audio_ms=2_800)
    make_item(
        call,
        "Please hang up and dial 911 now.",
        speaker=AGENT,
        source=Item.Source.FIXED,
        started_ms=8_300,
        audio_ms=3_600,
        first_audio_ms=210,
    )
    make_event(
        call,
        "guardrail.tripped",
        direction=Event.Direction.OWN,
        at_ms=8_250,
        fields={"rule": "Medical emergency", "item_id": "item_02"},
    )
    return call
