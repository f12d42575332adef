"""The phrases that a caller may well say in a session, for the recogniser's grammar. Pure."""

from typing import Any


def vocabulary(instructions: str, tools: list[dict[str, Any]]) -> list[str]:
    return []
