"""What the dialogue is told, and what it answers. Data only."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Scene:
    """All that a model would have before it when it answers."""

    instructions: str
    tools: list[dict[str, Any]]
    items: Sequence[Any]
    today: datetime.date
    own_instructions: str | None = None
    tool_choice: object = "auto"


@dataclass(frozen=True)
class Reply:
    say: str = ""
    calls: list[tuple[str, object]] = field(default_factory=list)
