"""The registry of tools: a name, an argument model and a plain synchronous handler.

A tool lives in the `tools.py` of any installed app:

    class Arguments(BaseModel):
        model_config = ConfigDict(extra="forbid")
        day: date = Field(title="Day", description="The day to look at")

    @tool("count_visits", "Say how many visits a day has.", Arguments)
    def count_visits(context: ToolContext, arguments: Arguments) -> ToolOutcome:
        return ToolOutcome({"visits": ...})

A handler that changes something is given a `recap` beside it: it runs only after the caller has said yes to what the
recap read out. Handlers know the clinic, the call and the caller from `ToolContext`, never from their arguments, and
know nothing of sessions, sockets or the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.utils.module_loading import autodiscover_modules
from pydantic import BaseModel

from agents_app.models import Clinic

TOOL_TIMEOUT_S = 8.0


class Then(StrEnum):
    """What the call does once the tool's output has reached the model."""

    ANSWER = "answer"  # the model speaks about it
    SILENT = "silent"  # the model learns of it and says nothing now
    HANG_UP = "hang_up"  # the model says goodbye, and the call ends when that was heard


@dataclass(frozen=True)
class ToolContext:
    """What a handler may rely on. `patient_id` is the patient whom this call has identified, or None."""

    clinic: Clinic
    call_id: UUID
    patient_id: int | None
    now: datetime  # aware, UTC
    zone: ZoneInfo  # the clinic's


@dataclass(frozen=True)
class ToolOutcome:
    """What a handler gives back.

    `data` goes to the model as JSON. `patient_id` names the patient whom the tool has identified or registered: the
    call carries it from then on. `card` is shown to the caller as it is: label and text of each line, made from the
    row that was written. `filled` names argument values that the tool supplied itself, and where they came from.
    """

    data: dict[str, Any]
    then: Then = Then.ANSWER
    confidence: float | None = None
    patient_id: int | None = None
    card: tuple[tuple[str, str], ...] = ()
    filled: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Recap:
    """What the caller is asked to say yes to, made by the server from the very values that would be written.

    `question` is read out word for word ("I will book ... Shall I go ahead?"). `lines` are shown: label and text.
    `spoken` are the pieces that the spoken recap must hold, each of them as `question` words it. `values` are the
    normalised values behind it, JSON-ready: two recaps with equal values ask for the same thing.
    """

    question: str
    lines: tuple[tuple[str, str], ...]
    spoken: tuple[str, ...]
    values: dict[str, Any]


class ToolError(Exception):
    """An expected failure that can be said to the caller: "that slot is taken".

    `message` reaches the model and may be spoken; it holds nothing that the caller may not hear.
    """

    def __init__(self, code: str, message: str, *, retryable: bool = False, data: dict[str, Any] | None = None) -> None:
        super().__init__(code)
        self.code, self.message, self.retryable, self.data = code, message, retryable, data


Handler = Callable[[ToolContext, Any], ToolOutcome]
RecapMaker = Callable[[ToolContext, Any], Recap]


@dataclass(frozen=True)
class ToolSpec:
    """One registered tool. It writes when it has a `recap`; a dry run of the recap refuses what cannot be done."""

    name: str
    description: str
    arguments: type[BaseModel]
    handler: Handler
    recap: RecapMaker | None = None
    timeout_s: float = TOOL_TIMEOUT_S
    working: str = "One moment"  # what the caller reads while it runs
    outcome: str = ""  # what a call comes to when it has run: "booked", "rescheduled", "cancelled", "message"

    @property
    def writes(self) -> bool:
        return self.recap is not None

    def definition(self) -> dict[str, Any]:
        """Return the tool as a Realtime session carries it: flat, no nested `function`, no `strict`."""
        schema = self.arguments.model_json_schema()
        schema.pop("title", None)
        schema.pop("description", None)
        return {"type": "function", "name": self.name, "description": self.description, "parameters": schema}


_registry: dict[str, ToolSpec] = {}


def tool(
    name: str,
    description: str,
    arguments: type[BaseModel],
    *,
    recap: RecapMaker | None = None,
    timeout_s: float = TOOL_TIMEOUT_S,
    working: str = "One moment",
    outcome: str = "",
) -> Callable[[Handler], Handler]:
    """Register the decorated handler. Raises ValueError when the name is taken, or unknown arguments would pass."""

    def register(handler: Handler) -> Handler:
        if name in _registry:
            raise ValueError(f"Two tools are named {name}")
        if arguments.model_config.get("extra") != "forbid":
            raise ValueError(f"The arguments of {name} must forbid extra fields")
        _registry[name] = ToolSpec(name, description, arguments, handler, recap, timeout_s, working, outcome)
        return handler

    return register


def registered_tools() -> dict[str, ToolSpec]:
    """Return every tool of every installed app, by name."""
    return dict(_registry)


def find_tools() -> None:
    """Import the `tools.py` of each installed app. Called once, when the apps are ready."""
    autodiscover_modules("tools")
