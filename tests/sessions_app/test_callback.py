"""Who finds no free line leaves a number: once, bounded, for the clinic's own staff alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from agents_app.models import Agent
from agents_app.practice.models import Task
from sessions_app.views import callback
from tests.make import make_clinic, make_user
from tests.servers import live_agent

pytestmark = pytest.mark.django_db


def ask(client: Client, agent: Agent | str, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    name = agent if isinstance(agent, str) else agent.public_name
    return client.post(reverse("callback", args=[name]), fields, headers=headers)


def left() -> list[tuple[Any, ...]]:
    return list(Task.objects.order_by("pk").values_list("clinic", "kind", "status", "phone", "caller_name", "call_id"))


def test_number_becomes_a_task_of_the_clinic_as_it_is_read_out(client: Client):
    agent = live_agent()

    answer = ask(client, agent, phone="(541) 555-0123", name="  Anna   Smith ")

    assert (answer.status_code, json.loads(answer.content)) == (201, {"phone": "541-555-0123"})
    assert left() == [(agent.clinic_id, "callback", "open", "541-555-0123", "Anna Smith", None)]
    assert answer.cookies == {}


def test_name_is_not_needed_and_the_same_number_waits_once(client: Client):
    agent = live_agent()

    answers = [ask(client, agent, phone=phone).status_code for phone in ("541 555 0123", "+1 541-555-0123")]

    assert answers == [201, 201]
    assert len(left()) == 1
    Task.objects.update(status=Task.Status.DONE)
    ask(client, agent, phone="541 555 0123")
    assert len(left()) == 2


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({}, ["phone"]),
        ({"phone": ""}, ["phone"]),
        ({"phone": "call me"}, ["phone"]),
        ({"phone": "123"}, ["phone"]),
        ({"phone": "5" * 41}, ["phone"]),
        ({"phone": "541 555 0123\x00"}, ["phone"]),
        ({"phone": "541 555 0123", "name": "<b>x</b>"}, ["name"]),
        ({"phone": "541 555 0123", "name": "a" * 161}, ["name"]),
        ({"phone": "1", "name": "1"}, ["phone", "name"]),
    ],
)
def test_what_is_no_number_or_no_name_is_told_by_its_field_and_leaves_nothing(client: Client, fields, wrong):
    answer = ask(client, live_agent(), **fields)

    problems = json.loads(answer.content)["errors"]
    assert (answer.status_code, list(problems)) == (400, wrong)
    assert all(isinstance(problem, str) and problem for problem in problems.values())
    assert left() == []


def test_only_our_own_page_may_send_it(client: Client):
    agent = live_agent()
    shown = [
        ({"origin": "http://testserver"}, 201),
        ({"origin": "https://testserver"}, 201),  # a proxy before us speaks TLS
        ({"origin": "https://clinic.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://testserver.evil.example"}, 403),
        ({"origin": "http://["}, 403),
        ({"origin": "http://testserver:x"}, 403),
        ({"origin": ""}, 403),
    ]

    answers = [ask(client, agent, headers, phone="541 555 0123").status_code for headers, _ in shown]

    assert answers == [status for _, status in shown]
    assert client.get(reverse("callback", args=[agent.public_name])).status_code == 405


def test_receptionist_that_is_paused_takes_numbers_and_one_that_is_nobodys_does_not(client: Client):
    agent = live_agent()
    Agent.objects.update(paused=True)

    assert ask(client, agent, phone="541 555 0123").status_code == 201
    assert ask(client, "nobody", phone="541 555 0123").status_code == 404
    assert len(left()) == 1


def test_an_address_leaves_no_more_than_it_may_begin_calls(client: Client):
    agent = live_agent(make_clinic(max_starts_per_hour=3))

    answers = [ask(client, agent, phone=f"541 555 010{n}").status_code for n in range(5)]

    assert answers == [201, 201, 201, 429, 429]
    assert len(left()) == 3


def test_pages_fill_no_more_than_their_share_of_the_list(client: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(callback, "MAX_WAITING", 2)
    agent, other = live_agent(), live_agent(make_clinic())

    answers = [ask(client, agent, phone=f"541 555 010{n}").status_code for n in (0, 1, 2, 0)]

    assert answers == [201, 201, 429, 201]  # who waits already is told so
    assert ask(client, other, phone="541 555 0100").status_code == 201


def test_staff_of_the_clinic_sees_the_number_and_staff_of_another_does_not(client: Client):
    agent = live_agent()
    ask(client, agent, phone="541 555 0123", name="Anna Smith")
    seen = []
    for clinic in (agent.clinic, make_clinic()):
        staff = Client()
        staff.force_login(make_user(clinic))
        seen.append(b"541-555-0123" in staff.get(reverse("tasks")).content)

    assert seen == [True, False]
