"""R02: a key that the voice service refuses is tried once a call, told once an hour, and touches one clinic alone."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from websockets.exceptions import ConnectionClosed

from agents_app.access import access_of, note_refused_key
from agents_app.models import Agent, ApiToken, KeyRefusal, VoiceService
from agents_app.practice.models import Task
from sessions_app.models import CallSession, Place
from tests.make import make_clinic
from tests.servers import ORIGIN, Server, ended_call, eventually, in_thread, live_agent

GOOD, BAD = "sk-good", "sk-bad"
LOGGED = "A voice service refused a clinic's key"
CALLS = 20
WAIT_S = 30


def agent_with(key: str, **fields: Any) -> tuple[Agent, str]:
    """A published agent of a clinic with this key, and the clinic's token: programs call from one address."""
    clinic = make_clinic(max_concurrent_calls=CALLS, max_starts_per_hour=1000, **fields)
    agent = live_agent(clinic)
    clinic.set_upstream_key(key)
    return agent, ApiToken.issue(clinic=clinic, name="Load")[1]


async def calls(server: Server, agent: Agent, token: str) -> str:
    """Call, and return the code of the first error, or "greeted" when the receptionist speaks."""
    async with server.call(agent, key=token, origin="", checked=False) as caller, asyncio.timeout(WAIT_S):
        found = ""
        try:
            while not found:
                event = await caller.next()
                if event["type"] == "error":
                    found = str(event["error"]["code"])
                elif event["type"] == "response.output_audio.delta":
                    return "greeted"
            while True:  # an apology, and the end
                await caller.next()
        except ConnectionClosed:
            return found


async def all_ended(agent: Agent) -> list[str]:
    """Return how the agent's calls failed, once the end of each is stored and its place is free."""
    rows = CallSession.objects.filter(version__agent=agent)
    await eventually(rows.exclude(state="ended").count, lambda going_on: not going_on)
    await eventually(Place.objects.count, lambda taken: not taken)
    return await in_thread(lambda: list(rows.values_list("error_code", flat=True)))


async def ask_for_a_key(server: Server, agent: Agent) -> tuple[int, str]:
    body = json.dumps({"session": {"type": "realtime", "model": agent.public_name}}).encode()
    headers = {"Content-Type": "application/json", "Origin": ORIGIN}
    request = urllib.request.Request(f"{server.http_url}/realtime/client_secrets", data=body, headers=headers)

    def ask() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
                return answer.status, ""
        except urllib.error.HTTPError as refused:
            return refused.code, json.loads(refused.read())["error"]["code"]

    return await asyncio.to_thread(ask)


async def test_refused_key_of_20_calls_at_once_is_tried_once_each_told_once_and_touches_no_other_clinic(server: Server):
    mine, token = await in_thread(lambda: agent_with(BAD))
    others, others_token = await in_thread(lambda: agent_with(GOOD))
    logged_before = server.log().count(LOGGED)

    async with server.upstream(key=GOOD) as standin:
        first = await asyncio.gather(*(calls(server, mine, token) for _ in range(CALLS)))
        tried = standin.refused
        later = [await calls(server, mine, token), await calls(server, mine, token)]
        key = await ask_for_a_key(server, mine)
        unharmed = await calls(server, others, others_token)
        await in_thread(lambda: mine.clinic.set_upstream_key(GOOD))
        mended = await calls(server, mine, token)
        ends = await all_ended(mine)
        tried_in_all = standin.refused

    reached = first.count("upstream_failed")
    assert reached >= 1
    assert first.count("key_rejected") == CALLS - reached  # begun after the first refusal was written down
    assert (tried, tried_in_all) == (reached, reached)
    assert later == ["key_rejected"] * 2
    assert key == (503, "key_rejected")
    assert (unharmed, mended) == ("greeted", "greeted")
    assert ends.count("upstream_401") == reached
    tasks = await in_thread(lambda: list(Task.objects.values_list("clinic_id", "kind", "priority")))
    assert tasks == [(mine.clinic_id, "check", "urgent")]
    assert server.log().count(LOGGED) - logged_before == 1
    assert [key for key in (GOOD, BAD) if key in server.log()] == []


async def test_refused_key_is_tried_again_by_one_call_when_its_time_has_come(uvicorn: Server):
    agent, token = await in_thread(lambda: agent_with(BAD))

    def wait_ten_minutes() -> None:
        KeyRefusal.objects.update(retry_at=Now() - timedelta(seconds=1))

    async with uvicorn.upstream(key=GOOD) as standin:
        told = [await calls(uvicorn, agent, token)]
        await in_thread(wait_ten_minutes)
        told += [await calls(uvicorn, agent, token) for _ in range(2)]
        tried = standin.refused
    await in_thread(wait_ten_minutes)
    async with uvicorn.upstream(key=BAD):  # put right where the key was made
        told += [await calls(uvicorn, agent, token)]
        await eventually(lambda: KeyRefusal.objects.get().key_digest, lambda digest: not digest)
        told += [await calls(uvicorn, agent, token)]
        await ended_call(agent)
    await all_ended(agent)

    assert told == ["upstream_failed", "upstream_failed", "key_rejected", "greeted", "greeted"]
    assert tried == 2


async def test_clinic_of_an_azure_address_calls_it_with_its_own_header(server: Server):
    def at_azure() -> tuple[Agent, str]:
        address = server.base_url.removesuffix("/v1") + "/openai/v1"
        service = VoiceService.objects.create(name="Azure", base_url=address, key_style="api-key")
        return agent_with(GOOD, voice_service=service)

    agent, token = await in_thread(at_azure)

    async with server.upstream(key=GOOD) as standin:
        told = await calls(server, agent, token)
        await all_ended(agent)

    assert (told, standin.refused, len(standin.sessions)) == ("greeted", 0, 1)


@pytest.mark.django_db
def test_staff_is_told_again_after_an_hour_and_not_while_the_last_task_stands(caplog: pytest.LogCaptureFixture):
    clinic = make_clinic()
    seen = []

    def note() -> None:
        note_refused_key(clinic, access_of(clinic).digest)
        seen.append((caplog.text.count(LOGGED), Task.objects.count()))

    note()
    note()
    KeyRefusal.objects.update(told_at=Now() - timedelta(minutes=61))
    note()
    Task.objects.update(status=Task.Status.DONE)
    KeyRefusal.objects.update(told_at=Now() - timedelta(minutes=61))
    note()

    assert seen == [(1, 1), (1, 1), (2, 1), (3, 2)]


@pytest.mark.django_db
def test_refusal_of_one_key_says_nothing_of_another_nor_of_another_clinics(settings: Any):
    clinic, other = make_clinic(), make_clinic()
    settings.OPENAI_API_KEY = "sk-shared"
    shared = access_of(clinic).digest
    KeyRefusal.objects.note(clinic.pk, shared)
    clinic.upstream_key_sealed = ""

    held = [KeyRefusal.objects.holds(row.pk, shared) for row in (clinic, other)]
    clinic.set_upstream_key("sk-own")

    assert held == [True, False]
    assert KeyRefusal.objects.holds(clinic.pk, access_of(clinic).digest) is False
