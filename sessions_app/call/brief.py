"""What a call begins with. Pure values, made once from the published version and the caller's key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from agents_app.guardrails import Rule
from sessions_app.call.function_calls import FunctionCall
from sessions_app.cost import Rates
from sessions_app.effects import ItemSaved


@dataclass(frozen=True)
class ToolBrief:
    writes: bool
    working: str = "One moment"
    outcome: str = ""  # what a call comes to when this tool has run


@dataclass(frozen=True)
class AudioFormat:
    """How sound is spelled on the wire, both ways."""

    bytes_per_ms: int = 48  # PCM16, mono, 24 kHz
    sample_bytes: int = 2


@dataclass(frozen=True)
class Lines:
    """The version's fixed lines."""

    greeting: str
    goodbye: str
    apology: str
    one_moment: str = "One moment, please."
    say_again: str = "Sorry, I lost you for a moment. Could you say that again?"
    are_you_there: str = "Are you still there?"
    last_minute: str = "We have about one minute left."


@dataclass(frozen=True)
class Past:
    """A call so far, as its record tells it to a process that goes on with it."""

    elapsed_ms: int
    epoch: int  # how often its caller has come, this time included
    items: tuple[ItemSaved, ...] = ()
    function_calls: tuple[tuple[FunctionCall, str], ...] = ()  # each with the output that the model was given
    seq: int = 0  # of the last event
    usage: dict[str, int] = field(default_factory=dict)
    alarm: str = ""  # the name of the guardrail that tripped
    patient_id: int | None = None
    outcomes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class CallBrief:
    call_id: str
    reference: str
    public_name: str
    session: dict[str, Any]  # the exact `session` object for the model
    lines: Lines
    emergency_number: str
    max_call_ms: int
    idle_ms: int = 20_000  # of silence before the caller is asked, and asked again; then goodbye
    tools: dict[str, ToolBrief] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    clips: dict[str, bytes] = field(default_factory=dict)  # line name -> sound
    audio: AudioFormat = AudioFormat()
    own_events: bool = False  # the caller understands frontdesk.*
    recording: bool = False
    demo_voice: bool = False
    expires_at: int | None = None  # Unix seconds, told to the caller
    rates: Rates | None = None  # what the model costs, as of the call's beginning; None: nobody has said
    transcription_rates: Rates | None = None
    past: Past | None = None  # None: the call begins

    @property
    def prefix_padding_ms(self) -> int:
        """How much sound before the voice the service counts as speech."""
        return int((self.session["audio"]["input"]["turn_detection"] or {}).get("prefix_padding_ms", 0))

    @property
    def hands_free(self) -> bool:
        return self.session["audio"]["input"]["turn_detection"] is not None
