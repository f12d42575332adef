"""The server: one raw ASGI application for HTTP and WebSocket, run by uvicorn on loopback."""

import asyncio
import contextlib
import ipaddress
import json
import socket
import urllib.parse
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any, cast

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.http11 import Request as HandshakeRequest

from sessions_app.standin.calls import Calls
from sessions_app.standin.faults import Faults
from sessions_app.standin.hearing import Hearing, best_ear
from sessions_app.standin.keys import KeyRing
from sessions_app.standin.leg import Leg
from sessions_app.standin.rest import Answer, Request, Rest, error_answer, json_answer
from sessions_app.standin.session import Engine, Session
from sessions_app.standin.voice import best_voice
from sessions_app.standin.wire import Json, Refusal, missing_parameter

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
SESSIONS_KEPT = 200
SOCKET_PATHS = ("/v1/realtime", "/openai/v1/realtime")  # the second is Azure's
SHUTDOWN_S = 2
DROP = "standin.drop"
"""The extension of the ASGI scope that cuts a connection without a close frame."""

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Json]]
Send = Callable[[Json], Awaitable[None]]


class AsgiSocket:
    """An accepted WebSocket, as a Leg writes to it."""

    def __init__(self, send: Send, drop: Callable[[], None]) -> None:
        self._send = send
        self._drop = drop

    async def send_text(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})

    async def close(self, code: int, reason: str) -> None:
        await self._send({"type": "websocket.close", "code": code, "reason": reason})

    def drop(self) -> None:
        self._drop()


class Standin:
    """The application, and what a test may see and turn while it runs."""

    def __init__(self, *, faults: Faults | None = None, key: str | None = None, speech: bool = True) -> None:
        self.faults = faults or Faults()
        self.sessions: deque[Session] = deque(maxlen=SESSIONS_KEPT)
        self.refused = 0  # handshakes
        self.port = 0
        voice = best_voice(speech=speech)
        self._hearing: Hearing = best_ear(speech=speech)
        self._engine = Engine(self.faults, voice, self._hearing)
        self._keys = KeyRing(key)
        self._calls = Calls()
        self._rest = Rest(self._engine, voice, self._keys, self._calls)

    @property
    def url(self) -> str:
        """The base for WebSockets, to which clients add `/realtime?model=...`."""
        return f"ws://127.0.0.1:{self.port}/v1"

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def received(self) -> list[list[Json]]:
        """The client events of each connection, in the order in which they were opened."""
        return [list(session.received) for session in self.sessions]

    def set_faults(self, **knobs: object) -> None:
        """Turn knobs of `faults` while the server runs."""
        for name, value in knobs.items():
            if not hasattr(self.faults, name):
                raise AttributeError(f"There is no fault named {name}.")
            setattr(self.faults, name, value)

    async def aclose(self) -> None:
        self._calls.hang_up_all()
        await self._hearing.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._serve_http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._serve_socket(scope, receive, send)

    async def _serve_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = bytearray()
        more = True
        while more and len(body) <= MAX_MESSAGE_BYTES:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        request = Request(scope["method"], scope["path"], scope["headers"], bytes(body))
        answer = await self._rest.answer(request)
        await send({"type": "http.response.start", "status": answer.status, "headers": _headers(answer)})
        await send({"type": "http.response.body", "body": answer.body})

    async def _serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        try:
            session, is_sideband = self._admit(scope)
        except Refusal as refusal:
            self.refused += 1
            await _refuse(send, error_answer(refusal))
            return
        except Fault as fault:
            await _refuse(send, json_answer(fault.status, {"error": {"message": "fault", "type": "server_error"}}))
            return
        chosen = "realtime" if "realtime" in scope["subprotocols"] else None
        await send({"type": "websocket.accept", "subprotocol": chosen})
        leg = Leg(AsgiSocket(send, scope["extensions"][DROP]), self.faults, hears_audio=not is_sideband)
        session.legs.append(leg)
        if not is_sideband:
            session.greet()
        try:
            await _carry(session, leg, receive)
        finally:
            session.legs.remove(leg)
            if not is_sideband:
                session.stop()

    def _admit(self, scope: Scope) -> tuple[Session, bool]:
        """Return the session for a handshake and whether it is a sideband's. Raises Refusal or Fault."""
        if self.faults.refuse_handshake and self.faults.strikes("refuse"):
            raise Fault(self.faults.refuse_handshake)
        if scope["path"] not in SOCKET_PATHS:
            raise Refusal("unknown_url", f"Invalid URL (GET {scope['path']})")
        if any(name.lower() == b"openai-beta" for name, _ in scope["headers"]):
            raise Refusal("beta_api_shape_disabled", "The Realtime Beta API is no longer supported.")
        configuration = self._keys.check(scope["headers"], scope["subprotocols"])
        query = dict(urllib.parse.parse_qsl(scope["query_string"].decode("latin-1")))
        if "call_id" in query:
            if configuration is not None:
                raise Refusal("call_id_not_found", "No session found for the provided call_id.", param="")
            session = self._calls.find(query["call_id"])
            self.sessions.append(session)
            return session, True
        model = (configuration or {}).get("model") or query.get("model")
        if not model:
            raise missing_parameter("model")
        session = Session(self._engine, model=model, configuration=configuration)
        self.sessions.append(session)
        return session, False


class Fault(Exception):
    """A handshake that a knob refuses."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


async def _carry(session: Session, leg: Leg, receive: Receive) -> None:
    """Read and write until either side closes."""
    expiry = asyncio.get_running_loop().call_later(session.lifetime_s, session.expire)
    writer = asyncio.create_task(_write(leg))
    try:
        while (message := await receive())["type"] == "websocket.receive":
            session.handle(_parsed(message.get("text")))
    finally:
        expiry.cancel()
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)


async def _write(leg: Leg) -> None:
    with contextlib.suppress(OSError):  # the client has gone: uvicorn says so with an OSError
        await leg.write()


def _parsed(text: str | None) -> object:
    try:
        return json.loads(text or "")
    except ValueError:
        return None


async def _refuse(send: Send, answer: Answer) -> None:
    """Answer an upgrade with an HTTP status and an error body."""
    await send({"type": "websocket.http.response.start", "status": answer.status, "headers": _headers(answer)})
    await send({"type": "websocket.http.response.body", "body": answer.body})


def _headers(answer: Answer) -> Iterable[tuple[bytes, bytes]]:
    headers = {"Content-Type": answer.content_type, "Content-Length": str(len(answer.body)), **answer.headers}
    return [(name.encode(), value.encode()) for name, value in headers.items()]


class _Protocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol, which also lets the application drop the connection: ASGI has no word for it."""

    def handle_connect(self, event: HandshakeRequest) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):
            extensions = cast("dict[str, Any]", self.scope["extensions"])
            extensions[DROP] = self.transport.abort


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: whoever runs it ends it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def begin(self, listener: socket.socket) -> None:
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        await self.startup(sockets=[listener])

    async def end(self) -> None:
        """Close everything at once, without the polls of uvicorn's own shutdown."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            with contextlib.suppress(InvalidState):  # it is closing already
                connection.shutdown()
        for task in list(self.server_state.tasks):
            task.cancel()
        await asyncio.gather(*self.server_state.tasks, return_exceptions=True)


def bound_socket(host: str, port: int) -> socket.socket:
    """Return a bound socket. Raises ValueError for a host that is not loopback, OSError for a taken port."""
    if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
        raise ValueError(f"The stand-in listens on loopback only, not on {host}.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def new_server(standin: Standin) -> _Server:
    config = uvicorn.Config(
        standin,
        ws=_Protocol,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    return _Server(config)


@contextlib.asynccontextmanager
async def running_standin(
    *,
    faults: Faults | Json | None = None,
    speech: bool = False,
    key: str | None = None,
    port: int = 0,
) -> AsyncIterator[Standin]:
    """Run a stand-in inside this process, on a free port of loopback unless one is given."""
    knobs = Faults(**faults) if isinstance(faults, dict) else faults
    standin = Standin(faults=knobs, key=key, speech=speech)
    listener = bound_socket("127.0.0.1", port)
    standin.port = listener.getsockname()[1]
    server = new_server(standin)
    await server.begin(listener)
    try:
        yield standin
    finally:
        await server.end()
        await standin.aclose()
