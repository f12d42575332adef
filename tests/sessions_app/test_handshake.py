"""The handshake of a call, on real servers: who comes in, and what is told to whom."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from agents_app.models import Agent, ApiToken, Clinic
from sessions_app.models import CallSession, ClientSecret, Place
from tests.make import make_agent
from tests.make_calls import make_version
from tests.servers import ORIGIN, Server, ended_call, eventually, in_thread, live_agent, new_key

OTHER_ORIGIN = "https://other.example"
WITH_KEY = "openai-insecure-api-key."


async def knock(
    server: Server, query: str, *, protocols: tuple[str, ...] = ("realtime",), headers: list[tuple[str, str]]
) -> tuple[int, bytes]:
    """Return the status and the body of a refused handshake; 101 of one that was accepted."""
    try:
        offered = [Subprotocol(one) for one in protocols] or None
        async with connect(f"{server.url}/realtime{query}", subprotocols=offered, additional_headers=headers):
            return 101, b""
    except InvalidStatus as refused:
        return refused.response.status_code, bytes(refused.response.body or b"")


def refused_status(server: Server) -> int:
    return 403 if server.kind == "daphne" else 401


async def test_call_is_greeted(server: Server):
    agent = await in_thread(live_agent)

    async with server.upstream() as standin:
        async with server.call(agent) as caller:
            chosen = caller.socket.subprotocol
            events = await caller.until("response.done")
        call = await ended_call(agent)

    assert chosen == "realtime"
    assert events[0]["type"] == "session.created"
    assert (call.end_reason, call.channel, call.origin) == ("caller", "api", ORIGIN)
    assert standin.received[0][0]["type"] == "session.update"


async def test_every_bad_key_is_refused_alike_and_says_nothing(server: Server):
    agent = await in_thread(lambda: live_agent(public_name="lexi"))
    await in_thread(lambda: make_agent(public_name="draft"))
    other = await in_thread(lambda: live_agent(public_name="max", origins=(OTHER_ORIGIN,)))
    keys = [await in_thread(lambda: new_key(agent)) for _ in range(6)]
    others = await in_thread(lambda: new_key(other, origin=OTHER_ORIGIN))
    origin = [("Origin", ORIGIN)]

    def bearer(key: str) -> list[tuple[str, str]]:
        return [*origin, ("Authorization", f"Bearer {key}")]

    refused = {
        "no key": await knock(server, "?model=lexi", headers=origin),
        "unknown key": await knock(server, "?model=lexi", headers=bearer("ek_nothing")),
        "key in the address": await knock(server, f"?model=lexi&key={keys[0]}", headers=origin),
        "key in a cookie": await knock(server, "?model=lexi", headers=[*origin, ("Cookie", f"key={keys[0]}")]),
        "unknown agent": await knock(server, "?model=nobody", headers=bearer(keys[1])),
        "never published": await knock(server, "?model=draft", headers=bearer(keys[1])),
        "no agent": await knock(server, "", headers=bearer(keys[1])),
        "a NUL for a name": await knock(server, "?model=%00", headers=bearer(keys[1])),
        "other agent": await knock(server, "?model=max", headers=bearer(keys[2])),
        "key of another": await knock(server, "?model=lexi", headers=bearer(others)),
        "other origin": await knock(
            server, "?model=lexi", headers=[("Origin", OTHER_ORIGIN), ("Authorization", f"Bearer {keys[3]}")]
        ),
        "no origin": await knock(server, "?model=lexi", headers=[("Authorization", f"Bearer {keys[4]}")]),
        "subprotocol": await knock(
            server, "?model=lexi", protocols=("realtime", f"{WITH_KEY}ek_nothing"), headers=origin
        ),
    }

    assert refused == dict.fromkeys(refused, (refused_status(server), b""))
    assert await in_thread(lambda: ClientSecret.objects.exclude(used_at=None).count()) == 0
    assert await in_thread(CallSession.objects.count) == 0


async def test_two_origins_are_none(server: Server):
    agent = await in_thread(live_agent)
    key = await in_thread(lambda: new_key(agent))
    headers = [("Origin", OTHER_ORIGIN), ("Origin", ORIGIN), ("Authorization", f"Bearer {key}")]

    status, _ = await knock(server, f"?model={agent.public_name}", headers=headers)

    assert status in (400, refused_status(server))


async def test_of_20_sockets_with_one_key_one_is_accepted(server: Server):
    agent = await in_thread(live_agent)
    key = await in_thread(lambda: new_key(agent))
    headers = [("Origin", ORIGIN), ("Authorization", f"Bearer {key}")]

    async with server.upstream():
        knocks = (knock(server, f"?model={agent.public_name}", headers=headers) for _ in range(20))
        statuses = [status for status, _ in await asyncio.gather(*knocks)]
        await ended_call(agent)

    assert Counter(statuses) == {101: 1, refused_status(server): 19}
    assert await in_thread(CallSession.objects.count) == 1


async def test_expired_key_is_refused(uvicorn: Server):
    agent = await in_thread(live_agent)
    key = await in_thread(lambda: new_key(agent))
    await in_thread(lambda: ClientSecret.objects.update(expires_at="2020-01-01T00:00Z"))

    status, _ = await knock(
        uvicorn,
        f"?model={agent.public_name}",
        headers=[("Origin", ORIGIN), ("Authorization", f"Bearer {key}")],
    )

    assert status == 401


async def test_token_of_a_server_serves_in_place_of_a_key(server: Server):
    agent = await in_thread(live_agent)
    _, token = await in_thread(lambda: ApiToken.issue(clinic=agent.clinic, name="Switchboard"))
    query, bearer = f"?model={agent.public_name}", ("Authorization", f"Bearer {token}")

    async with server.upstream():
        accepted = [
            await knock(server, query, headers=[bearer], protocols=()),
            await knock(server, query, headers=[], protocols=("realtime", WITH_KEY + token)),
        ]
        refused = [
            await knock(server, query, headers=[bearer, ("Origin", ORIGIN)]),
            await knock(server, query, headers=[bearer, ("Origin", "null")]),
        ]
        await eventually(lambda: CallSession.objects.filter(state="ended").count(), lambda count: count == 2)

    assert [status for status, _ in accepted] == [101, 101]
    assert [status for status, _ in refused] == [refused_status(server)] * 2


def daphnes(code: int) -> int:
    return code + 3000 if code < 3000 else code


def pause(agent: Agent) -> None:
    Agent.objects.filter(pk=agent.pk).update(paused=True)


def fill(agent: Agent) -> None:
    Clinic.objects.filter(pk=agent.clinic_id).update(max_concurrent_calls=1)
    agent.clinic.refresh_from_db()
    Place.objects.take(agent, UUID(int=1))


def break_seal(agent: Agent) -> None:
    Clinic.objects.filter(pk=agent.clinic_id).update(upstream_key_sealed="no seal of ours")


def break_version(agent: Agent) -> None:
    make_version(agent)  # one without content


@pytest.mark.parametrize(
    ("spoil", "code", "close_code"),
    [
        (pause, "agent_paused", 4404),
        (fill, "busy", 1013),
        (break_seal, "not_configured", 4500),
        (break_version, "server_error", 4500),
    ],
)
async def test_what_fails_after_the_key_is_told_on_the_accepted_socket(
    server: Server, spoil: Callable[[Agent], None], code: str, close_code: int
):
    agent = await in_thread(live_agent)
    key = await in_thread(lambda: new_key(agent))
    await in_thread(lambda: spoil(agent))

    async with server.call(agent, key=key) as caller:
        event = await caller.next()
        with pytest.raises(ConnectionClosed) as closed:
            await caller.next()

    assert event["error"]["code"] == code
    assert closed.value.rcvd is not None
    # Daphne tells no reason, and no code of its own below 3000.
    seen = (closed.value.rcvd.code, closed.value.rcvd.reason)
    assert seen == ((close_code, code) if server.kind == "uvicorn" else (daphnes(close_code), ""))
    assert await in_thread(CallSession.objects.count) == 0
    held = await in_thread(lambda: Place.objects.count())
    assert held == (1 if spoil is fill else 0)


async def test_61st_call_of_an_address_by_token_is_told(uvicorn: Server):
    agent = await in_thread(live_agent)
    _, token = await in_thread(lambda: ApiToken.issue(clinic=agent.clinic, name="Switchboard"))
    await in_thread(lambda: Clinic.objects.update(max_starts_per_hour=1))

    async with uvicorn.upstream():
        codes: list[Any] = []
        for _ in range(2):
            async with uvicorn.call(agent, key=token, origin="") as caller:
                event = await caller.next()
                codes.append(event.get("error", {}).get("code"))
        await ended_call(agent)

    assert codes == [None, "rate_limited"]


async def test_key_stands_in_no_log(server: Server):
    agent = await in_thread(live_agent)
    key = await in_thread(lambda: new_key(agent))

    async with server.upstream():
        async with server.call(agent, key=key) as caller:
            await caller.until("session.created")
        await ended_call(agent)
    await knock(server, f"?model={agent.public_name}", protocols=("realtime", WITH_KEY + key), headers=[])

    assert "Serving" in server.log()
    assert key.removeprefix("ek_") not in server.log()


async def test_session_as_it_is_shown_holds_no_instruction_and_no_tool(uvicorn: Server):
    agent = await in_thread(lambda: live_agent(tools=["get_datetime"]))

    async with uvicorn.upstream():
        async with uvicorn.call(agent) as caller:
            created = await caller.next()
            updated = await caller.configure(instructions="Obey", tools=[])
        await ended_call(agent)

    assert created["session"] == {**updated, "id": created["session"]["id"]}
    assert sorted(created["session"]) == [
        "audio",
        "expires_at",
        "id",
        "model",
        "object",
        "output_modalities",
        "type",
    ]
    assert created["session"]["model"] == agent.public_name
    assert agent.live_version is not None
    assert agent.live_version.content["instructions"][0]["text"] not in json.dumps(created)
