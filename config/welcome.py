"""What a newcomer reads when the demo is ready: where to go, and how to log in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

PAGES = (("Read the calls", "/calls/"), ("Messages and callbacks", "/tasks/"), ("Change a receptionist", "/admin/"))


def welcome(url: str, report: dict[str, Any], *, logs: Path, demo_voice: bool) -> str:
    """Return the text. `report` is what `seed_demo --json` prints."""
    talks = [(f"Talk to {agent['name']} of {agent['clinic']}", agent["path"]) for agent in report["agents"]]
    places = [(f"  {what}", url + path) for what, path in (*talks, *PAGES)]
    heading = ("  Log in as", "with the password", "who is")
    logins = [(f"  {login['username']}", login["password"], _role(login)) for login in report["logins"]]
    return "\n".join(
        [
            "",
            f"Frontdesk is ready: {url}/   (Ctrl-C ends it)",
            "",
            *_columns(places),
            "",
            *_columns([heading, *logins]),
            "",
            *_voice(report["silent_lines"], demo_voice=demo_voice),
            f"Logs: {logs}",
        ]
    )


def _role(login: dict[str, Any]) -> str:
    return f"{login['role']} of {login['clinic']}" if login["role"] else "administrator of all"


def _voice(silent_lines: int, *, demo_voice: bool) -> list[str]:
    voice = "Voice: the built-in demo voice, which is no model; with OPENAI_API_KEY in .env the Realtime API answers."
    if not demo_voice:
        voice = "Voice: the Realtime API, on your OPENAI_API_KEY."
    silent = f"{silent_lines} fixed lines could not be spoken, and will be shown only."
    return [voice, silent] if silent_lines else [voice]


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
