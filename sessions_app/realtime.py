"""The upstream WebSocket: connect, send, iterate. Owns the handshake's retries; knows nothing of calls.

Address and header are the clinic's own (`Upstream`): OpenAI's, or Azure's, which speaks the same protocol at
https://NAME.openai.azure.com/openai/v1 and takes the key as `api-key`. Which keys a service has refused is in
`refused_keys`. Another protocol would be another module with the same few verbs.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import quote

from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI

from agents_app.models import key_headers
from sessions_app.client_socket import ClientSocket, open_socket

MAX_TRIES = 3
BACKOFF_S = 0.4  # the first wait is at most this, and each next at most twice the last
CONNECT_S = 5.0  # for all the tries together: the caller is waiting
RATE_LIMITED = "upstream_429"
MAX_RATE_TRIES = 2  # of one call, when the service has too much to do
RETRY_AFTER_S, MAX_RETRY_AFTER_S = 1.0, 10.0  # when the service does not say, and whatever it says
RETRY_SPREAD_S = 1.5  # the calls that waited do not all come back at once
CLOSE_TIMEOUT_S = 2.0
PING_EVERY_S, PING_TIMEOUT_S = 5.0, 10.0
MAX_FRAME_BYTES = 2 * 1024 * 1024
# The kernel would keep megabytes for an upstream that is too slow: a minute of sound that nobody can take back.
MAX_UNSENT_BYTES = 16 * 1024


class UpstreamFailed(Exception):
    """There is no upstream connection. `code` says why, in our own words: never the provider's text."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Upstream:
    """Where a clinic's calls go. The key is not shown by repr."""

    base_url: str  # https://host/v1
    model: str
    key: str = field(repr=False)
    key_style: str = "bearer"
    key_was_refused: bool = False  # this connection tries it again

    @property
    def url(self) -> str:
        return f"ws{self.base_url.removeprefix('http')}/realtime?model={quote(self.model, safe='')}"


class RealtimeConnection:
    """One open connection. Frames are text."""

    def __init__(self, socket: ClientSocket) -> None:
        self._socket = socket

    @property
    def try_send(self) -> Callable[[str], bool]:
        """Sends one event if that needs no waiting; False when it does. A connection that is gone takes everything."""
        return self._socket.try_send

    async def send(self, text: str) -> None:
        """Send one event. Raises UpstreamFailed when the connection is gone."""
        try:
            await self._socket.send(text)
        except ConnectionError:
            raise UpstreamFailed(self.lost_code) from None

    async def each(self, take: Callable[[str | bytes], None]) -> None:
        """Hand each frame to `take` as it comes in. Return at the end of the connection, however it came."""
        await self._socket.each(take)

    def frames(self) -> AsyncIterator[str | bytes]:
        """Yield the frames one by one, to a reader with time to spare. Their end is that of the connection."""
        return self._socket.messages()

    async def close(self) -> None:
        await self._socket.close(within_s=CLOSE_TIMEOUT_S)

    @property
    def lost_code(self) -> str:
        """Return why the connection is gone. 1000 and 1001 unasked are faults too: the 60-minute end looks so."""
        if self._socket.refused_size:
            return "upstream_oversized"
        return f"upstream_closed_{self._socket.close_code or 1006}"


async def open_connection(upstream: Upstream, *, within_s: float = CONNECT_S) -> RealtimeConnection:
    """Connect, trying again with full jitter where that can help. Raises UpstreamFailed."""
    failed = UpstreamFailed("upstream_unreachable")
    gives_up, rate_tries = time.monotonic() + within_s, 0
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            for attempt in range(MAX_TRIES):
                if attempt:
                    await asyncio.sleep(random.uniform(0, BACKOFF_S * 2**attempt))
                if not await _left_in_peace(upstream, gives_up):
                    failed = UpstreamFailed(RATE_LIMITED)
                    break
                try:
                    return RealtimeConnection(await _connect(upstream))
                except InvalidStatus as refused:
                    failed = UpstreamFailed(f"upstream_{refused.response.status_code}")
                    if failed.code == RATE_LIMITED:
                        rate_tries += 1
                        _leave_in_peace(upstream, refused.response.headers.get("Retry-After", ""))
                    elif refused.response.status_code < 500:
                        break
                    if rate_tries >= MAX_RATE_TRIES:
                        break
                except ssl.SSLCertVerificationError:  # an OSError and a ValueError too
                    failed = UpstreamFailed("upstream_certificate")
                    break
                except (OSError, InvalidHandshake):
                    failed = UpstreamFailed("upstream_unreachable")
                except (InvalidURI, ValueError):
                    failed = UpstreamFailed("upstream_address")
                    break
    raise failed


# Until when a key is to be left in peace, as its service asked for: for all of this process's calls.
_peace: dict[tuple[str, str], float] = {}


def _leave_in_peace(upstream: Upstream, retry_after: str) -> None:
    """Note what a 429 asks for. Source: RFC 9110, Retry-After; its form with a date is read as none."""
    try:
        wait_s = float(min(max(int(retry_after), 0), MAX_RETRY_AFTER_S))
    except ValueError:
        wait_s = RETRY_AFTER_S
    which, until = (upstream.base_url, upstream.key), time.monotonic() + wait_s
    _peace[which] = max(until, _peace.get(which, 0.0))


async def _left_in_peace(upstream: Upstream, gives_up: float) -> bool:
    """Wait as long as the key must be left in peace. False, at once, when that is longer than the caller waits."""
    which = (upstream.base_url, upstream.key)
    now, until = time.monotonic(), _peace.get(which, 0.0)
    if until <= now:
        _peace.pop(which, None)
        return True
    if until >= gives_up:
        return False
    await asyncio.sleep(until - now + random.uniform(0, min(RETRY_SPREAD_S, gives_up - until)))
    return True


async def _connect(upstream: Upstream) -> ClientSocket:
    return await open_socket(
        upstream.url,
        headers=key_headers(upstream.key, upstream.key_style),
        tls=_tls() if upstream.url.startswith("wss:") else None,
        max_bytes=MAX_FRAME_BYTES,
        max_unsent_bytes=MAX_UNSENT_BYTES,
        ping_every_s=PING_EVERY_S,
        ping_timeout_s=PING_TIMEOUT_S,
    )


@cache
def _tls() -> ssl.SSLContext:
    # Made once: reading the system's certificates takes 23 ms, on the event loop.
    return ssl.create_default_context()
