"""WebSocket addresses. A call stands bare: its key carries the origin, and patients have no login."""

from __future__ import annotations

from django.urls import path

from sessions_app.consumers import CallConsumer

call_patterns = [
    path("v1/realtime", CallConsumer.as_asgi()),  # type: ignore[arg-type]  # Django's stubs know views alone
]
