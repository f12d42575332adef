"""R38: what is changed while a call is live ends it only when staff says so, and then at once."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.test import Client

from agents_app.models import Clinic, Membership
from sessions_app.models import CallSession
from tests.make import make_clinic, make_user
from tests.make_calls import make_call
from tests.servers import Server, ended_call, in_thread, live_agent
from tests.serving import closed
from tests.sessions_app.standin.recording import RecordingClient

CALLS = "/admin/sessions_app/callsession/"


def signed_in(clinic: Clinic, role: str = Membership.Role.MANAGER) -> Client:
    client = Client()
    client.force_login(make_user(clinic, role=role))
    return client


def stop(client: Client, *calls: CallSession) -> Any:
    return client.post(CALLS, {"action": "stop_now", "_selected_action": [str(call.pk) for call in calls]}, follow=True)


async def goes_on(caller: RecordingClient) -> None:
    await caller.say("Are you still there?")
    await caller.send("response.create")
    await caller.until("response.done")


async def test_r38_pause_stops_new_calls_and_stop_ends_live_ones_within_five_seconds(server: Server):
    agent = await in_thread(live_agent)
    manager = await in_thread(lambda: signed_in(agent.clinic))

    async with server.upstream():
        async with server.call(agent) as caller, server.call(agent, own_events=True) as other:
            await caller.until("response.done")
            await other.until("response.done")
            agent.paused = True
            await in_thread(lambda: agent.save(update_fields=["paused"]))
            async with server.call(agent) as late:
                told, _ = await closed(late)
            await goes_on(caller)

            first = await in_thread(lambda: CallSession.objects.order_by("started_at")[0])
            await in_thread(lambda: stop(manager, first))
            began = time.monotonic()
            _, code = await closed(caller)
            took = time.monotonic() - began
            await goes_on(other)
        await ended_call(agent)

    assert told[0]["error"]["code"] == "agent_paused"
    assert code == 1000
    assert took < 5.0
    assert await in_thread(lambda: list(CallSession.objects.order_by("started_at").values_list("end_reason"))) == [
        ("stopped",), ("caller",),
    ]  # fmt: skip


@pytest.mark.django_db
def test_stop_asks_for_the_calls_in_progress_once():
    clinic = make_clinic()
    manager = signed_in(clinic)
    live = [make_call(clinic, state="live", ended_at=None) for _ in range(2)]
    ended = make_call(clinic)

    first = stop(manager, *live, ended)
    second = stop(manager, *live, ended)

    assert "2 calls end within five seconds." in first.content.decode()
    assert "0 calls end within five seconds." in second.content.decode()
    asked = CallSession.objects.asked_to_stop([live[0].pk, live[1].pk, ended.pk])
    assert sorted(asked) == sorted(call.pk for call in live)


@pytest.mark.django_db
@pytest.mark.parametrize("role", [Membership.Role.MANAGER, Membership.Role.REVIEWER])
def test_stop_does_not_reach_calls_of_another_clinic_or_of_one_that_is_only_read(role: str):
    clinic, elsewhere = make_clinic(), make_clinic()
    client = signed_in(clinic, role)
    theirs = make_call(elsewhere, state="live", ended_at=None)
    mine = make_call(clinic, state="live", ended_at=None)

    stop(client, theirs, mine)

    asked = CallSession.objects.asked_to_stop([theirs.pk, mine.pk])
    assert asked == ([mine.pk] if role == Membership.Role.MANAGER else [])


@pytest.mark.django_db
def test_who_manages_one_clinic_and_reads_another_stops_only_its_own():
    managed, read = make_clinic(), make_clinic()
    user = make_user(managed)
    Membership.objects.create(user=user, clinic=read, role=Membership.Role.REVIEWER)
    client = Client()
    client.force_login(user)
    calls = [make_call(clinic, state="live", ended_at=None) for clinic in (managed, read)]

    stop(client, *calls)

    assert CallSession.objects.asked_to_stop(call.pk for call in calls) == [calls[0].pk]
