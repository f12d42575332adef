"""Which function calls a call has seen, and which of them still owe the model an output. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

MAX_A_CALL = 60
MAX_A_TURN = 8  # between two things that the caller said
MAX_SAME_A_TURN = 2  # with the same arguments


class Admission(StrEnum):
    RUN = "run"
    SEEN = "seen"  # named before: it has, or will have, its one output
    UNKNOWN = "unknown_tool"
    TOO_MANY = "too_many_calls"
    REPEATED = "repeated_call"


@dataclass(frozen=True)
class FunctionCall:
    call_id: str
    name: str
    arguments: str
    patient_id: int | None = None  # whom the call had identified when the model called
    position: int = 0  # of the item that it follows


@dataclass(frozen=True)
class RecapShown:
    """A recap as the gateway made it; `digest` stands for its values."""

    question: str
    lines: tuple[tuple[str, str], ...]
    spoken: tuple[str, ...]
    digest: str


@dataclass(frozen=True)
class ToolResult:
    """How a function call ended. `output` is the envelope for the model, JSON-ready."""

    output: dict[str, Any]
    ok: bool
    then: str = "answer"
    patient_id: int | None = None
    card: tuple[tuple[str, str], ...] = ()
    recap: RecapShown | None = None  # of a dry run that could be done
    filled: dict[str, str] = field(default_factory=dict)  # values that the tool supplied itself, and where from


@dataclass
class HeldWrite:
    """A write whose yes is being transcribed."""

    call: FunctionCall
    result: ToolResult
    until: int


@dataclass
class FunctionCalls:
    known: frozenset[str]
    calls: dict[str, FunctionCall] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)  # what the model was answered, as JSON
    in_session: set[str] = field(default_factory=set)  # the function calls that the model's present session knows
    waiting: set[str] = field(default_factory=set)
    held: HeldWrite | None = None
    answer_due: bool = False
    recap_due: bool = False
    hang_up_due: bool = False
    patient_id: int | None = None
    outcomes: set[str] = field(default_factory=set)
    in_turn: int = 0
    same_in_turn: Counter[tuple[str, str]] = field(default_factory=Counter)  # by name and arguments

    def admit(self, call: FunctionCall) -> Admission:
        if call.call_id in self.calls:
            return Admission.SEEN
        if len(self.calls) >= MAX_A_CALL or self.in_turn >= MAX_A_TURN:
            self.calls.setdefault(call.call_id, call)
            return Admission.TOO_MANY
        self.calls[call.call_id] = call
        self.in_turn += 1
        if call.name not in self.known:
            return Admission.UNKNOWN
        self.same_in_turn[call.name, call.arguments] += 1
        if self.same_in_turn[call.name, call.arguments] > MAX_SAME_A_TURN:
            return Admission.REPEATED
        self.waiting.add(call.call_id)
        return Admission.RUN

    def new_turn(self) -> None:
        self.in_turn = 0
        self.same_in_turn.clear()
