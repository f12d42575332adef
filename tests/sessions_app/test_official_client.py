"""The official client calls a receptionist as it would call a model; each event is one that its own types know."""

from __future__ import annotations

import base64
import json
from contextlib import AbstractAsyncContextManager
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection

from agents_app.models import Agent, ApiToken
from sessions_app.models import Item
from sessions_app.standin.voice import best_voice
from tests.servers import ORIGIN, Server, ended_call, in_thread, live_agent, new_key
from tests.sessions_app.standin.recording import check

FRAME_BYTES = 9600  # 200 ms
SILENCE = bytes(48_000)  # a second of it ends a turn


def client_of(server: Server, key: str, **headers: str) -> AsyncOpenAI:
    return AsyncOpenAI(
        api_key=key,
        base_url=server.http_url,
        websocket_base_url=server.url,
        default_headers=headers,
        max_retries=0,
    )


def connect(client: AsyncOpenAI, agent: Agent) -> AbstractAsyncContextManager[AsyncRealtimeConnection]:
    return client.realtime.connect(model=agent.public_name)


async def until(connection: AsyncRealtimeConnection, kind: str) -> list[Any]:
    """Return the events up to the first of this kind, each held against the official types."""
    events: list[Any] = []
    while not events or events[-1].type != kind:
        raw = await connection.recv_bytes()
        check(json.loads(raw))
        events.append(connection.parse_event(raw))
        assert events[-1].type != "error"
    return events


async def text_turn(connection: AsyncRealtimeConnection, text: str) -> str:
    """Introduce ourselves as the SDKs do, type a message, and return the words of the answer."""
    await connection.session.update(
        session={"type": "realtime", "output_modalities": ["text"], "instructions": "Be a pirate.", "tools": []}
    )
    await until(connection, "session.updated")
    item: Any = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    await connection.conversation.item.create(item=item)
    await until(connection, "conversation.item.done")
    await connection.response.create()
    events = await until(connection, "response.done")
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def token_of(agent: Agent) -> str:
    return ApiToken.issue(clinic=agent.clinic, name="Switchboard")[1]


@pytest.mark.parametrize("kind", ["key", "token"])
async def test_official_client_holds_a_text_turn(server: Server, kind: str):
    agent = await in_thread(live_agent)
    key = await in_thread(lambda: new_key(agent, origin="") if kind == "key" else token_of(agent))

    async with server.upstream() as standin:
        standin.set_faults(script=[{"say": "Hello."}, {"say": "Park at the back."}])
        async with client_of(server, key) as client, connect(client, agent) as connection:
            greeting = await until(connection, "response.done")
            answer = await text_turn(connection, "Where can I park?")
        call = await ended_call(agent)

    assert greeting[0].type == "session.created"
    assert answer == "Park at the back."
    lines = await in_thread(lambda: list(Item.objects.filter(session=call).values_list("speaker", "text")))
    assert lines[1:] == [("caller", "Where can I park?"), ("agent", "Park at the back.")]
    assert (call.end_reason, call.outcome) == ("caller", "answered")


@pytest.mark.speech
@pytest.mark.parametrize("kind", ["key", "token"])
async def test_official_client_holds_an_audio_turn(server: Server, kind: str):
    agent = await in_thread(live_agent)
    key = await in_thread(lambda: new_key(agent, origin="") if kind == "key" else token_of(agent))
    speech = await best_voice().sound("I have a question about my appointment", voice="rms", speed=1.0)

    async with server.upstream(speech=True):
        async with client_of(server, key) as client, connect(client, agent) as connection:
            await until(connection, "response.done")
            sound = SILENCE + speech + SILENCE
            for start in range(0, len(sound), FRAME_BYTES):
                frame = base64.b64encode(sound[start : start + FRAME_BYTES]).decode()
                await connection.input_audio_buffer.append(audio=frame)
            heard = await until(connection, "conversation.item.input_audio_transcription.completed")
            answered = await until(connection, "response.done")
        call = await ended_call(agent)

    kinds = [event.type for event in heard]
    order = ("input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped", "input_audio_buffer.committed")
    assert [kind for kind in kinds if kind in order] == list(order)
    assert "appointment" in heard[-1].transcript
    sound_heard = [event for event in [*heard, *answered] if event.type == "response.output_audio.delta"]
    assert sum(len(base64.b64decode(event.delta)) for event in sound_heard) > len(SILENCE) // 2
    item = await in_thread(lambda: Item.objects.get(session=call, speaker=Item.Speaker.CALLER))
    assert (item.source, item.transcript_state, item.text) == ("speech", "done", heard[-1].transcript)


async def test_official_client_mints_a_key_and_calls_with_it(server: Server):
    agent = await in_thread(live_agent)
    token = await in_thread(lambda: token_of(agent))

    async with server.upstream():
        async with client_of(server, token) as client:
            secret = await client.realtime.client_secrets.create(
                session={"type": "realtime", "model": agent.public_name, "instructions": "Be a pirate."}
            )
        async with client_of(server, secret.value) as client, connect(client, agent) as connection:
            await until(connection, "response.done")
        await ended_call(agent)

    assert secret.value.startswith("ek_")
    assert secret.session.type == "realtime"
    assert secret.session.model == agent.public_name


async def test_official_client_raises_its_own_errors(uvicorn: Server):
    agent = await in_thread(live_agent)
    token = await in_thread(lambda: token_of(agent))
    raised: dict[str, tuple[str, str | None]] = {}

    async def ask(name: str, key: str, model: str, **headers: str) -> None:
        async with client_of(uvicorn, key, **headers) as client:
            with pytest.raises(openai.APIStatusError) as error:
                await client.realtime.client_secrets.create(session={"type": "realtime", "model": model})
            raised[name] = (type(error.value).__name__, error.value.code)

    await ask("wrong token", "fd_nothing", agent.public_name)
    await ask("unknown agent", token, "nobody")
    await ask("with an origin", token, agent.public_name, Origin=ORIGIN)
    await ask("too long a name", token, "n" * 51)

    assert raised == {
        "wrong token": ("AuthenticationError", "invalid_api_key"),
        "unknown agent": ("NotFoundError", "model_not_found"),
        "with an origin": ("PermissionDeniedError", "origin_not_allowed"),
        "too long a name": ("BadRequestError", "invalid_value"),
    }
