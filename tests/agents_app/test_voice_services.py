"""Where a clinic's calls go and with which key: a key is shown to the one service that it is for."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from agents_app.access import access_of
from agents_app.models import Clinic, KeyRefusal, VoiceService, key_headers
from agents_app.publishing import publish
from config import checks
from tests.agents_app.test_admin import clinic_form, page
from tests.make import make_agent, make_clinic, make_user

pytestmark = pytest.mark.django_db

AZURE = "https://barton.openai.azure.com/openai/v1"


def azure(**fields: Any) -> VoiceService:
    return VoiceService.objects.create(**{"name": "Azure", "base_url": AZURE, "key_style": "api-key", **fields})


@pytest.mark.parametrize(
    "address",
    [
        "http://voice.example.com/v1", "ftp://voice.example.com", "https://", "voice.example.com",
        "https://user:secret@voice.example.com/v1", "https://voice.example.com/v1?key=1", "https://voice.example.com/#a",
        "https://voice.example.com:99999/v1", "http://127.0.0.1.example.com/v1", "http://169.254.169.254/latest",
        "javascript:alert(1)", "file:///etc/passwd", "https://voice.exämple.com/v1",
    ],
)  # fmt: skip
def test_address_that_is_not_https_or_holds_more_than_an_address_is_refused(address: str):
    with pytest.raises(ValidationError):
        VoiceService(name="X", base_url=address).full_clean()


@pytest.mark.parametrize(
    ("address", "kept"),
    [("https://api.openai.com/v1/", "https://api.openai.com/v1"), ("http://127.0.0.1:8765/v1", None), (AZURE, None)],
)
def test_address_is_kept_without_its_last_slash(address: str, kept: str | None):
    service = VoiceService(name="X", base_url=address)
    service.full_clean()
    service.save()

    assert service.base_url == (kept or address)


def test_service_changes_address_and_header_of_a_clinic(settings: Any):
    settings.OPENAI_API_KEY = "sk-ours"
    clinic = make_clinic()
    clinic.set_upstream_key("sk-clinic")
    before = access_of(clinic)

    clinic.voice_service = azure()
    after = access_of(clinic)

    assert (before.base_url, before.key) == (settings.OPENAI_BASE_URL, "sk-clinic")
    assert (after.base_url, after.key) == (AZURE, "sk-clinic")
    shown = [key_headers(access.key, access.key_style) for access in (before, after)]
    assert shown == [{"Authorization": "Bearer sk-clinic"}, {"api-key": "sk-clinic"}]
    assert "sk-clinic" not in repr((before, after))


def test_installations_key_is_never_shown_to_another_service(settings: Any):
    settings.OPENAI_API_KEY, settings.DEBUG = "sk-ours", False
    agent = make_agent(make_clinic(name="Elm Street", voice_service=azure()))
    asked: list[dict[str, Any]] = []

    publish(agent, None, speak=lambda text, **how: asked.append(how))

    assert access_of(agent.clinic).key == ""
    assert [how["key"] for how in asked] == [""]
    assert asked[0]["service"] == agent.clinic.voice_service
    assert [error.msg.split(" has ")[0] for error in checks.check_upstream_keys()] == ["The clinic Elm Street"]


def test_sealed_key_that_cannot_be_opened_is_not_replaced_by_the_installations(settings: Any):
    settings.OPENAI_API_KEY = "sk-ours"
    clinic = make_clinic(upstream_key_sealed="no seal of ours")

    assert access_of(clinic).key == ""


def test_key_is_entered_again_when_a_manager_chooses_another_service():
    clinic, service = make_clinic(), azure()
    clinic.set_upstream_key("sk-of-openai")
    manager = Client()
    manager.force_login(make_user(clinic))

    kept = manager.post(page(clinic), clinic_form(clinic, voice_service=service.pk))
    unchanged = Clinic.objects.get(pk=clinic.pk)
    manager.post(page(clinic), clinic_form(clinic, voice_service=service.pk, new_upstream_key="azure-key"))

    clinic.refresh_from_db()
    assert list(kept.context["adminform"].form.errors) == ["new_upstream_key"]
    assert (unchanged.voice_service, unchanged.upstream_key) == (None, "sk-of-openai")
    assert (clinic.voice_service, clinic.upstream_key) == (service, "azure-key")


def test_manager_neither_sees_nor_changes_the_list_of_services():
    service, manager = azure(), Client()
    manager.force_login(make_user(make_clinic()))

    answers = [
        manager.get("/admin/agents_app/voiceservice/").status_code,
        manager.get("/admin/agents_app/voiceservice/add/").status_code,
        manager.post(f"/admin/agents_app/voiceservice/{service.pk}/change/", {"base_url": "https://evil"}).status_code,
    ]

    service.refresh_from_db()
    assert answers == [403, 403, 403]
    assert service.base_url == AZURE


def test_page_of_the_clinic_says_that_its_key_is_refused_until_it_is_changed():
    clinic = make_clinic()
    clinic.set_upstream_key("sk-bad")
    manager = Client()
    manager.force_login(make_user(clinic))
    words = "The service refuses the key"
    KeyRefusal.objects.note(clinic.pk, access_of(clinic).digest)

    refused = manager.get(page(clinic)).content.decode()
    manager.post(page(clinic), clinic_form(clinic, new_upstream_key="sk-bad"))

    assert words in refused
    assert words not in manager.get(page(clinic)).content.decode()
