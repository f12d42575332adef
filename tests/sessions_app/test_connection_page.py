"""The page on which a manager tries a clinic's connection; another clinic's does not exist there."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agents_app.access import access_of
from agents_app.models import Clinic, KeyRefusal, Membership
from sessions_app.standin.server import running_standin
from tests.make import make_clinic, make_user
from tests.servers import in_thread, live_agent

PAGE = "/connection/"


def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def clinic_with(key: str) -> tuple[Clinic, Client]:
    clinic = make_clinic(name="Elm Street")
    live_agent(clinic)
    clinic.set_upstream_key(key)
    KeyRefusal.objects.note(clinic.pk, access_of(clinic).digest)
    return clinic, logged_in(make_user(clinic))


@pytest.mark.django_db
def test_another_clinics_connection_does_not_exist_for_a_manager_nor_anyones_for_a_reviewer():
    mine, other = make_clinic(name="Clinic Mine"), make_clinic(name="Clinic Foreign")
    manager = logged_in(make_user(mine))
    reviewer = logged_in(make_user(mine, role=Membership.Role.REVIEWER))

    shown = manager.get(PAGE).content.decode()
    answers = [
        manager.post(PAGE, {"clinic": other.pk}).status_code,
        manager.post(PAGE, {"clinic": "x"}).status_code,
        manager.post(PAGE).status_code,
        reviewer.post(PAGE, {"clinic": mine.pk}).status_code,
        Client().post(PAGE, {"clinic": mine.pk}).status_code,
    ]

    assert "Clinic Mine" in shown
    assert "Clinic Foreign" not in shown
    assert "Clinic Mine" not in reviewer.get(PAGE).content.decode()
    assert answers == [404, 404, 404, 404, 302]


@pytest.mark.usefixtures("transactional_db")
async def test_working_connection_is_told_and_its_key_is_let_through_again(settings: Any):
    async with running_standin(key="sk-good") as standin:
        settings.OPENAI_BASE_URL = standin.http_url
        clinic, manager = await in_thread(lambda: clinic_with("sk-good"))
        shown = await in_thread(lambda: manager.post(PAGE, {"clinic": clinic.pk}).content.decode())

    assert "key, connection and session work" in shown
    assert await in_thread(lambda: KeyRefusal.objects.get().key_digest) == ""


@pytest.mark.usefixtures("transactional_db")
async def test_failing_step_is_named_and_the_key_is_not_shown(settings: Any):
    async with running_standin(key="sk-good") as standin:
        settings.OPENAI_BASE_URL = standin.http_url
        clinic, manager = await in_thread(lambda: clinic_with("sk-CANARY-CANARY-CANARY"))
        shown = await in_thread(lambda: manager.post(PAGE, {"clinic": clinic.pk}).content.decode())

    assert "<strong>Key, gpt-realtime-2.1</strong>: the service refuses the key" in shown
    assert "<strong>Diary</strong>: it has no provider" in shown
    assert "CANARY" not in shown
    assert await in_thread(lambda: KeyRefusal.objects.get().key_digest) != ""


@pytest.mark.django_db
def test_clinic_without_a_key_is_told_so(settings: Any):
    settings.OPENAI_API_KEY, settings.OPENAI_BASE_URL = "", "https://api.openai.com/v1"
    clinic = make_clinic()

    shown = logged_in(make_user(clinic)).post(PAGE, {"clinic": clinic.pk}).content.decode()

    assert "<strong>Key</strong>: There is none" in shown
