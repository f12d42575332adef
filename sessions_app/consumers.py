"""The caller's WebSocket: an ASGI application with its own receive loop.

Channels' dispatch visits the shared database thread before every message: three times the CPU, and with a 200 ms query
in another call it held one frame in twenty back by 188 ms. So a frame goes straight to the call. The consumer only
attaches and detaches; the call lives elsewhere, and the consumer may be cancelled at any time.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Generator
from itertools import count
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as _lazy

from sessions_app.admission import Refusal
from sessions_app.bridge import Bridge
from sessions_app.dialect.heard import error
from sessions_app.leg import Leg
from sessions_app.opening import REALTIME_PROTOCOL, BadKey, CannotBegin, Handshake, come_back, open_call, spend_key
from sessions_app.registry import registry
from sessions_app.resuming import call_of

logger = logging.getLogger(__name__)

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Coroutine[Any, Any, None]]
T = TypeVar("T")

CLOSE_LOST, CLOSE_BUSY, CLOSE_REPLACED, CLOSE_TOO_SLOW, CLOSE_FAILED = 1006, 1013, 4409, 4429, 4500
MESSAGES_A_TURN = 16  # of one caller, before the loop looks after the others
TAKER = "frontdesk.taker"  # an extension of our own server's scope; see config.caller_frames
RETRY_MS = 2000
SEND_TIMEOUT_S = 15.0  # without progress to a caller that does not read

_REFUSALS = {
    "busy": _lazy("There are too many calls just now. Please try again in a few seconds"),
    "restarting": _lazy("We are restarting. Please try again in a few seconds"),
}


class _Begun:
    """A send that was begun outside of a task, and waits: the task that awaits this one ends it."""

    def __init__(self, text: str, sending: Coroutine[Any, Any, None], waits_for: Any) -> None:
        self.text = text
        self._sending, self._waits_for = sending, waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        try:
            yield self._waits_for
            yield from self._sending.__await__()
        finally:
            self._sending.close()


class CallConsumer:
    """One instance serves one socket; `as_asgi` is what routing wants."""

    @classmethod
    def as_asgi(cls) -> Callable[[dict[str, Any], Receive, Send], Awaitable[None]]:
        async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
            await cls(scope, receive, send).serve()

        return application

    def __init__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._scope = scope
        self._begun: _Begun | None = None

    async def serve(self) -> None:
        if (await self._receive())["type"] == "websocket.connect":
            with registry().socket():
                await self._serve(_read_handshake(self._scope))

    async def _serve(self, handshake: Handshake) -> None:
        if handshake.resume:
            await self._serve_again(handshake)
            return
        refused = registry().admit()
        if refused is not None:  # before anything else: what is refused must cost next to nothing
            await self._turn_away(handshake, refused)
            return
        try:
            opening = await self._open(lambda: open_call(handshake, spend_key(handshake)))
        except BadKey:
            registry().not_begun()
            await self._refuse()
            return
        except CannotBegin as reason:
            await self._give_up(handshake, reason)
            return
        bridge = registry().begin(opening)
        try:
            await self._accept(handshake)
        except BaseException:  # gone before it was answered: its call ends, with its row and its place
            bridge.detach(None, CLOSE_LOST)
            raise
        leg = self._leg()
        bridge.attach(leg, token=opening.token)
        await self._carry(bridge, leg)

    async def _serve_again(self, handshake: Handshake) -> None:
        """A caller comes back to its call. Its token is spent first: of two at once, one has it in the end.

        A call that another process has left is one more for this one, and waits for its admission with the new ones.
        """
        another = not registry().carries(call_of(handshake.resume))
        refused = registry().admit() if another else None
        if refused is not None:
            await self._turn_away(handshake, refused)
            return
        try:
            back = await self._open(lambda: come_back(handshake))
            bridge = await registry().resumed(back)
        except (BadKey, CannotBegin) as reason:
            if another:
                registry().not_begun()
            await (self._refuse() if isinstance(reason, BadKey) else self._give_up(handshake, reason))
            return
        except Exception as fault:  # the old token is good until the caller has the new one: it may try again
            logger.error("A call could not go on", extra={"error": type(fault).__name__})
            again = CannotBegin("server_error", _("Please try again"), CLOSE_BUSY, retry_after_ms=RETRY_MS)
            await self._give_up(handshake, again)
            return
        await self._accept(handshake)
        leg = self._leg()
        if bridge.attach_again(leg, back):
            await self._carry(bridge, leg)
        else:
            await self._close(CLOSE_REPLACED, "replaced")

    async def _give_up(self, handshake: Handshake, reason: CannotBegin) -> None:
        await self._accept(handshake)
        await self._say(error(reason.code, reason.message, retry_after_ms=reason.retry_after_ms))
        await self._close(reason.close_code, reason.code)

    async def _turn_away(self, handshake: Handshake, refused: Refusal) -> None:
        """Say that this process takes no call now, and when to try again: the key is as good as before."""
        retry_ms = round(random.uniform(*refused.retry_after_s) * 1000)
        await self._accept(handshake)
        await self._say(error(refused.code, str(_REFUSALS[refused.code]), retry_after_ms=retry_ms))
        await self._close(CLOSE_BUSY, refused.code)

    async def _open(self, open_call: Callable[[], T]) -> T:
        def open_it() -> T:
            try:
                return open_call()
            except (BadKey, CannotBegin):
                raise
            except Exception as fault:  # a browser sees nothing of a refused handshake, so it is told on the socket
                logger.error("A call could not be opened", extra={"error": type(fault).__name__})
                raise CannotBegin("server_error", _("Something went wrong on our side"), CLOSE_FAILED) from None

        return await registry().open(open_it)

    async def _carry(self, bridge: Bridge, leg: Leg) -> None:
        """Carry frames both ways until one side ends."""
        sender = asyncio.create_task(leg.run())
        listener = asyncio.create_task(self._listen(bridge))
        code: int | None = None
        try:
            await asyncio.wait({sender, listener}, return_when=asyncio.FIRST_COMPLETED)
            code = listener.result() if listener.done() else None
        except Exception as fault:  # its text may be patient data: the server would log it
            logger.error("A caller's leg failed", extra={"error": type(fault).__name__})
        finally:
            replaced = not bridge.detach(leg, CLOSE_LOST if code is None else code)
            for task in (sender, listener):
                task.cancel()
            await asyncio.gather(sender, listener, return_exceptions=True)
        if code is None and replaced:
            await self._close(CLOSE_REPLACED, "replaced")
        elif code is None:
            await self._close_after(bridge, leg)

    async def _close_after(self, bridge: Bridge, leg: Leg) -> None:
        """We ended: say why, in the close code."""
        if leg.overflowed or not bridge.hung_up.done():
            await self._close(CLOSE_TOO_SLOW, "too_slow")
            return
        ended = bridge.hung_up.result()
        await self._close(ended.code, ended.reason)  # not the error code: it may be the provider's own text

    async def _listen(self, bridge: Bridge) -> int:
        """Hand on what the caller says. Return the code with which it left."""
        take_texts = self._scope.get("extensions", {}).get(TAKER, _ignored)
        take_texts(bridge.from_caller)  # what our own server hands over past the queue
        try:
            return await self._listen_to_queue(bridge)
        finally:
            take_texts(None)

    async def _listen_to_queue(self, bridge: Bridge) -> int:
        for number in count(1):
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return int(message.get("code") or 1005)
            text = message.get("text")
            bridge.from_caller(text if text is not None else "")
            if number % MESSAGES_A_TURN == 0:
                # What waits is received without a pause: 20,000 small messages held all other calls for 1.1 s.
                await asyncio.sleep(0)
            if bridge.hung_up.done():  # our own close is on its way, and nothing more is listened to
                await asyncio.get_running_loop().create_future()
        raise AssertionError("Counting has no end")

    def _leg(self) -> Leg:
        return Leg(self._send_text, try_send=self._try_send_text)

    def _try_send_text(self, text: str) -> bool:
        """Send a message if the server takes it at once, as it does unless the caller reads too slowly.

        A task that wakes for each message, with a time limit of its own, costs as much as all else that we do to it.
        """
        sending = self._send({"type": "websocket.send", "text": text})
        try:
            waits_for = sending.send(None)
        except StopIteration:
            return True
        except Exception:  # it is tried again, and fails, where the leg can end by it
            return False
        self._begun = _Begun(text, sending, waits_for)
        return False

    async def _send_text(self, text: str) -> None:
        async with asyncio.timeout(SEND_TIMEOUT_S):
            begun, self._begun = self._begun, None
            if begun is not None:
                await begun
            if begun is None or begun.text is not text:
                await self._send({"type": "websocket.send", "text": text})

    async def _accept(self, handshake: Handshake) -> None:
        chosen = REALTIME_PROTOCOL if handshake.realtime_offered else None
        await self._send({"type": "websocket.accept", "subprotocol": chosen})

    async def _refuse(self) -> None:
        """Refuse in the handshake: 401 where the server can, 403 where it cannot."""
        if self._answers_http:
            headers = [(b"content-type", b"text/plain"), (b"cache-control", b"no-store")]
            await self._send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
            await self._send({"type": "websocket.http.response.body", "body": b""})
        else:
            await self._send({"type": "websocket.close", "code": 4401})

    @property
    def _answers_http(self) -> bool:
        """Whether the server can answer a handshake in HTTP: uvicorn can, Daphne cannot."""
        return "websocket.http.response" in self._scope.get("extensions", {})

    async def _say(self, event: dict[str, Any]) -> None:
        await self._send_text(json.dumps({"event_id": "event_0", **event}))

    async def _close(self, code: int, reason: str) -> None:
        if 1000 < code < 3000 and not self._answers_http:
            code += 3000  # Daphne has no other code below 3000: 1013 becomes 4013
        await self._send({"type": "websocket.close", "code": code, "reason": reason})


def _ignored(take: Callable[[str], None] | None) -> None:
    """Another server knows no short way: all that the caller says comes by `receive`."""


def _read_handshake(scope: dict[str, Any]) -> Handshake:
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        # Lines of one name are one list: each proxy may add its own line, and two origins are no origin.
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1")))
    peer = (scope.get("client") or ["", 0])[0]
    return Handshake.read(headers=headers, query=query, protocols=list(scope.get("subprotocols", [])), peer=peer)
