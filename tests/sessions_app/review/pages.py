"""Reads the review pages as tests need them."""

from __future__ import annotations

import re
from typing import Any

from sessions_app.models import CallSession


def pages_of(call: CallSession) -> list[str]:
    return [f"/calls/{call.pk}/", f"/calls/{call.pk}/events/"]


def text_of(response: Any) -> str:
    """The page as it is read: without markup, and with single spaces."""
    page = re.sub(r"<(script|svg)\b.*?</\1>", " ", response.content.decode(), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())
