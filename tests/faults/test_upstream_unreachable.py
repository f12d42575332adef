"""The upstream cannot be had, or dies at once: R01, R03, R04, R07. A real server process looks for it in vain."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from agents_app.models import Agent, VoiceService
from sessions_app.models import CallSession
from sessions_app.standin.server import running_standin
from tests.faults.kit import ROOM
from tests.faults.proxy import Proxy, running_proxy
from tests.make import make_clinic
from tests.servers import Server, ended_call, eventually, in_thread, live_agent
from tests.sessions_app.test_bad_input import errors, lines, to_the_end, why
from tests.sessions_app.test_realtime import self_signed

CONNECT_S = 5.0  # for all the tries together
LATE_S = 5.0  # what a busy machine, the apology and the end may add
APOLOGY = ("agent", "I am sorry, something went wrong on our side. Please call us by phone.")
CALLS = 20
RETRY_AFTER_S = 1
HTML = b"<html>Log in</html>"


def agent_of(base_url: str = "", key: str = "") -> Agent:
    """A receptionist whose clinic looks for its upstream at `base_url`, else where the installation does."""
    service = VoiceService.objects.create(name=base_url, base_url=base_url) if base_url else None
    clinic = make_clinic(max_concurrent_calls=ROOM, max_starts_per_hour=10_000, voice_service=service)
    clinic.set_upstream_key(key or "sk-clinic")
    return live_agent(clinic, greeting="Hello.", disclosure="I am automated.")


async def failed_call(server: Server, agent: Agent) -> tuple[CallSession, float]:
    """Call, hear the apology to its end, and return the row, and how long it took."""
    began = time.monotonic()
    async with server.call(agent) as caller:
        closed = await to_the_end(caller)
    took_s = time.monotonic() - began
    assert (closed, errors(caller.events)) == (4500, ["upstream_failed"])
    return await ended_call(agent), took_s


class Refusing:
    """Answers each request alike, and notes when it came."""

    def __init__(self, said: bytes) -> None:
        self._said = said
        self.port = 0
        self.came: list[float] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.came.append(time.monotonic())
            writer.write(self._said)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def refusing(status: str, *, body: bytes = b"", headers: bytes = b"", port: int = 0) -> AsyncIterator[Refusing]:
    head = b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n" % (status.encode(), len(body), headers)
    door = Refusing(head + body)
    server = await asyncio.start_server(door.serve, "127.0.0.1", port)
    door.port = server.sockets[0].getsockname()[1]
    try:
        yield door
    finally:
        server.close()
        await server.wait_closed()


async def test_upstream_that_cannot_be_reached_is_given_up_in_time_and_the_caller_is_told(server: Server):
    """R01: a closed port, one that answers nothing to TCP, and one that answers nothing to HTTP."""

    async def without(hide: Callable[[Proxy], None]) -> None:
        async with running_proxy(server.upstream_port) as proxy:
            hide(proxy)
            agent = await in_thread(lambda: agent_of(f"http://127.0.0.1:{proxy.port}/v1"))
            call, took_s = await failed_call(server, agent)
        assert took_s < CONNECT_S + LATE_S
        assert why(call) == ("refused", "upstream_unreachable", "failed")
        assert APOLOGY in await lines(call)

    async with server.upstream():
        await asyncio.gather(*(without(hide) for hide in (Proxy.refuse, Proxy.black_hole, Proxy.stall)))


async def test_certificate_that_nobody_vouches_for_ends_the_call_before_the_key_is_shown(
    server: Server, tmp_path: Path
):
    """R01: TLS fails."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(self_signed(tmp_path))
    heard = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.read())
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = listening.sockets[0].getsockname()[1]
    agent = await in_thread(lambda: agent_of(f"https://127.0.0.1:{port}/v1", "sk-secret"))
    try:
        call, _ = await failed_call(server, agent)
    finally:
        listening.close()

    assert why(call) == ("refused", "upstream_certificate", "failed")
    assert heard == b""
    assert "sk-secret" not in server.log()


async def test_twenty_calls_obey_one_service_that_has_too_much_to_do(server: Server):
    """R03: at most two tries a call, the second ones after Retry-After and spread out; each caller is told."""
    asks = f"Retry-After: {RETRY_AFTER_S}\r\n".encode()
    async with refusing("429 Too Many Requests", headers=asks) as door:
        agent = await in_thread(lambda: agent_of(f"http://127.0.0.1:{door.port}/v1", f"sk-{server.kind}"))

        async def closed() -> int:
            async with server.call(agent) as caller:
                return await to_the_end(caller)

        codes = await asyncio.gather(*(closed() for _ in range(CALLS)))

    calls = await eventually(
        lambda: list(CallSession.objects.filter(clinic=agent.clinic, state="ended")), lambda found: len(found) == CALLS
    )
    assert {code for code in codes} == {4500}
    assert {why(call) for call in calls} == {("refused", "upstream_429", "failed")}
    assert len(door.came) <= 2 * CALLS
    second = [at for at in sorted(door.came) if at - min(door.came) >= RETRY_AFTER_S]
    assert len(second) >= CALLS / 2
    assert max(second) - min(second) > 0.3


ANSWERS = [
    ("500 Internal Server Error", b"", "upstream_500", 3),
    ("502 Bad Gateway", HTML, "upstream_502", 3),
    ("503 Service Unavailable", b"", "upstream_503", 3),
    ("200 OK", HTML, "upstream_200", 1),
]


async def test_service_that_answers_with_something_else_is_tried_twice_more_where_that_can_help(server: Server):
    """R04: 500, 502, 503, and a page of HTML in place of an upgrade."""

    async def answered(status: str, body: bytes, code: str, tries: int) -> None:
        async with refusing(status, body=body) as door:
            agent = await in_thread(lambda: agent_of(f"http://127.0.0.1:{door.port}/v1"))
            call, took_s = await failed_call(server, agent)
        assert (why(call), len(door.came)) == (("refused", code, "failed"), tries)
        assert took_s < CONNECT_S + LATE_S

    await asyncio.gather(*(answered(*one) for one in ANSWERS))

    assert HTML.decode() not in server.log()


async def test_upstream_that_dies_at_once_again_and_again_is_connected_to_three_times(server: Server):
    """R07: accepted and closed, before a word, after `session.created`, and after it took its configuration."""

    async def dying(after_events: int) -> None:
        async with running_standin(faults={"close_after_events": after_events, "close_code": 1006}) as standin:
            agent = await in_thread(lambda: agent_of(standin.http_url))
            call, _ = await failed_call(server, agent)
        assert 1 <= len(standin.sessions) <= 3
        assert (call.end_reason, call.error_code, call.outcome) == ("upstream", "upstream_closed_1006", "failed")
        assert APOLOGY in await lines(call)

    await asyncio.gather(*(dying(after) for after in (0, 1, 3)))
