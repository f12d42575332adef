"""What whoever runs the installation asks a process: `/healthz`, `/readyz`, `/metrics`.

Stands before Django: answered in the event loop, without a thread, a session or a host name, since a probe names the
machine and not the site. Holds nothing of a clinic's.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings
from prometheus_client import CONTENT_TYPE_LATEST

from config import logs
from config.readiness import Readiness
from sessions_app import metrics
from sessions_app.registry import registry

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[..., Awaitable[None]]

JSON, TEXT = "application/json", "text/plain; charset=utf-8"
FORWARDED = (b"x-forwarded-for", b"forwarded", b"x-real-ip")


class Operations:
    """Answers its three addresses, and hands everything else on."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._readiness: Readiness | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answers = {"/healthz": self._alive, "/readyz": self._ready, "/metrics": self._figures}
        answer = answers.get(scope["path"])
        if answer is None:
            await self._application(scope, receive, send)
        elif scope["method"] not in ("GET", "HEAD"):
            await _send(send, 405, TEXT, b"")
        else:
            status, kind, body = await answer(scope)
            await _send(send, status, kind, body if scope["method"] == "GET" else b"")

    async def _alive(self, scope: Scope) -> tuple[int, str, bytes]:
        return 200, TEXT, b"alive\n"

    async def _ready(self, scope: Scope) -> tuple[int, str, bytes]:
        self._readiness = self._readiness or Readiness()
        failing = await self._readiness.failing()
        return 503 if failing else 200, JSON, json.dumps({"ready": not failing, "failing": failing}).encode()

    async def _figures(self, scope: Scope) -> tuple[int, str, bytes]:
        if not may_read_figures(dict(scope["headers"]), (scope.get("client") or [""])[0]):
            return 403, TEXT, b"Show METRICS_TOKEN, or ask from this machine.\n"
        _look()
        return 200, CONTENT_TYPE_LATEST, metrics.exposition()


def may_read_figures(headers: dict[bytes, bytes], peer: str) -> bool:
    """Whoever shows METRICS_TOKEN; where there is none, this machine alone, and not through a proxy on it."""
    if settings.METRICS_TOKEN:
        shown = headers.get(b"authorization", b"")
        return secrets.compare_digest(shown, f"Bearer {settings.METRICS_TOKEN}".encode())
    try:
        return ipaddress.ip_address(peer).is_loopback and not any(name in headers for name in FORWARDED)
    except ValueError:  # a Unix socket has no address, and a proxy at its other end
        return False


def _look() -> None:
    """Note what is true now, and what others have counted."""
    calls = registry()
    metrics.CALLS_LIVE.set(calls.live)
    metrics.SOCKETS_OPEN.set(calls.sockets)
    metrics.TASKS.set(len(asyncio.all_tasks()))
    metrics.DRAINING.set(calls.draining)
    recorder = calls.recorder.health()
    metrics.FACTS_WAITING.set(recorder.waiting_facts)
    metrics.FACTS_SET_ASIDE.set(recorder.set_aside)
    metrics.JOURNAL_BYTES.set(recorder.journal_bytes)
    metrics.RECORDER_TROUBLE.set(recorder.trouble_s)
    metrics.catch_up(metrics.FACTS_DROPPED, recorder.dropped)
    for handler in logs.handlers():
        metrics.catch_up(metrics.LOG_LINES_DROPPED, handler.dropped)
        for module, errors in list(handler.errors.items()):
            metrics.catch_up(metrics.FAULTS.labels(module), errors)


async def _send(send: Send, status: int, kind: str, body: bytes) -> None:
    headers = [
        (b"content-type", kind.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
