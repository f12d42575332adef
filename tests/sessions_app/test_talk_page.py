"""The patient's pages as Django renders them."""

from __future__ import annotations

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client, override_settings

from agents_app.models import Agent, AgentVersion
from config.middleware import content_security_policy
from sessions_app.views.talk_texts import texts
from tests.make import make_agent, make_clinic

pytestmark = pytest.mark.django_db
STATIC = settings.BASE_DIR / "sessions_app" / "static" / "sessions_app"


def published(**fields: Any) -> Agent:
    agent = make_agent(**fields)
    agent.live_version = AgentVersion.objects.create(agent=agent, number=1, content={}, content_hash="0")
    agent.save()
    return agent


def json_of(response: Any, block: str) -> Any:
    found = re.search(rf'<script id="{block}" type="application/json">(.*?)</script>', response.content.decode())
    assert found
    return json.loads(found[1])


class Tags(HTMLParser):
    """Collects each tag with its attributes."""

    def __init__(self, response: Any) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(response.content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_talk_page_shows_the_notice_and_names_its_exact_wording(client: Client) -> None:
    notice = "Words are kept.\nSo is sound, “if you agree”."
    published(public_name="lexi", clinic=make_clinic(recording_enabled=True, recording_notice=notice))

    response = client.get("/talk/lexi/")

    page = json_of(response, "page-settings")
    assert page["noticeSha256"] == hashlib.sha256(notice.encode()).hexdigest()
    assert page["publicName"] == "lexi"
    assert page["recordingOffered"] is True
    assert "So is sound, “if you agree”." in response.content.decode()


def test_recording_choice_is_offered_only_where_sound_is_kept(client: Client) -> None:
    published(public_name="loud", clinic=make_clinic(recording_enabled=True))
    published(public_name="quiet", clinic=make_clinic(recording_enabled=False))

    offered = {name: b'id="keep-no-sound"' in client.get(f"/talk/{name}/").content for name in ("loud", "quiet")}

    assert offered == {"loud": True, "quiet": False}


def test_unknown_and_never_published_receptionists_get_the_same_bytes(client: Client) -> None:
    make_agent(public_name="draft", clinic=make_clinic(name="Secret Clinic"))

    unknown, draft = client.get("/talk/nobody/"), client.get("/talk/draft/")

    assert (unknown.status_code, draft.status_code) == (404, 404)
    assert unknown.content == draft.content
    assert dict(unknown.headers) == dict(draft.headers)


def test_paused_receptionist_shows_phone_and_hours_and_no_call(client: Client) -> None:
    clinic = make_clinic(phone="+1 (541) 555-0100", hours=[(0, "09:00", "12:30"), (0, "13:30", "17:00")])
    published(public_name="lexi", clinic=clinic, paused=True)

    response = client.get("/talk/lexi/")

    text = response.content.decode()
    assert response.status_code == 200
    assert 'href="tel:+15415550100"' in text
    assert "<td>9~a.m.~–~12:30~p.m., 1:30~p.m.~–~5~p.m.</td>" in text.replace("\u00a0", "~")  # noqa: RUF001 - a line is broken at spaces alone
    assert "<script" not in text


def test_page_is_marked_as_written_in_the_language_that_it_is_in(client: Client) -> None:
    published(public_name="lexi")

    german = client.get("/talk/lexi/", headers={"accept-language": "de"})

    assert next(attributes for tag, attributes in Tags(german).found if tag == "html")["lang"] == "en"
    assert german.headers["Content-Language"] == "en"


def test_talk_page_runs_nothing_inline_and_loads_nothing_from_elsewhere(client: Client) -> None:
    published(public_name="lexi")

    response = client.get("/talk/lexi/", headers={"host": "localhost:8000"})

    scripts = [attributes for tag, attributes in Tags(response).found if tag == "script"]
    assert [script.get("src") for script in scripts if script.get("type") != "application/json"] == [
        "/static/sessions_app/talk.js"
    ]
    assert [tag for tag, attributes in Tags(response).found if tag == "style" or "style" in attributes] == []
    assert [tag for tag, attributes in Tags(response).found if any(name.startswith("on") for name in attributes)] == []
    assert response.headers["Content-Security-Policy"] == content_security_policy("localhost:8000")
    assert "microphone=(self)" in response.headers["Permissions-Policy"]
    assert response.cookies == {}


def test_other_pages_may_not_use_the_microphone_and_the_admin_keeps_its_scripts(client: Client) -> None:
    home, admin = client.get("/"), client.get("/admin/login/")

    assert "microphone=()" in home.headers["Permissions-Policy"]
    assert "frame-ancestors 'none'" in home.headers["Content-Security-Policy"]
    assert "Content-Security-Policy" not in admin.headers


def test_markup_in_names_and_notices_stays_text(client: Client) -> None:
    evil = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
    clinic = make_clinic(name=evil[:100], recording_notice=evil, address=evil)
    published(public_name="lexi", name="</script><b>x", clinic=clinic)

    response = client.get("/talk/lexi/")

    assert [tag for tag, _ in Tags(response).found if tag in ("img", "b")] == []
    assert len([tag for tag, _ in Tags(response).found if tag == "script"]) == 3


@override_settings(DEBUG=True)
def test_front_door_of_the_demo_lists_published_receptionists_only(client: Client) -> None:
    published(public_name="lexi", name="Lexi")
    make_agent(public_name="draft", name="Draft")

    links = [attributes["href"] for tag, attributes in Tags(client.get("/")).found if tag == "a"]

    assert [link for link in links if link and link.startswith("/talk/")] == ["/talk/lexi/"]
    assert {"/calls/", "/tasks/", "/admin/"} <= set(links)


def test_front_door_outside_the_demo_names_no_clinic(client: Client) -> None:
    published(public_name="lexi", name="Lexi", clinic=make_clinic(name="Barton Dental"))

    text = client.get("/").content.decode()

    assert "lexi" not in text.lower()
    assert "Barton" not in text
    assert 'href="/calls/"' in text


@override_settings(DEBUG=True)
@pytest.mark.parametrize("count", [1, 3])
def test_front_door_takes_one_query(client: Client, count: int, django_assert_num_queries: Any) -> None:
    for _ in range(count):
        published()

    with django_assert_num_queries(1):
        client.get("/")


def test_every_sentence_that_the_script_asks_for_is_there_and_no_other() -> None:
    words = texts(make_agent())
    source = "\n".join(path.read_text() for path in STATIC.glob("*.js"))
    problems = set(re.findall(r'"(key_\w+|microphone_\w+|insecure|unsupported|socket_failed|close_other)"', source))
    problems -= {"microphone_lost", "microphone_ready"}
    codes = re.search(r"CLOSE_CODES = \[([\d, ]+)\]", source)
    hints = set(re.findall(r'hint(?:: |\()"(\w+)"', source))
    named = set(re.findall(r"\b(?:texts|button|misc|captions|status|hint)\.(?=(\w+))", source))
    named |= set(re.findall(r"\w+", " ".join(re.findall(r"\{ (.*) \} = this\.texts;", source))))
    buttons = set(re.findall(r"\w+", " ".join(re.findall(r"texts\.button\[(.*)\]", source))))
    quoted = set(re.findall(r'"(\w+)"', source))
    budget = {"budget_text_only", "budget_message"}  # after their level, which the server names

    assert codes
    assert problems | {f"close_{code}" for code in codes[1].split(", ")} == set(words["problem"])
    assert hints <= set(words["hint"])
    assert set(re.findall(r'return "(\w+)";', (STATIC / "microphone_help.js").read_text())) <= set(words["steps"])
    assert set(words["button"]) <= named | buttons
    assert {*words["misc"], *words["captions"], *words["callback"]} <= named
    assert {*words["status"], *words["hint"]} <= named | quoted | budget


def test_script_never_writes_markup() -> None:
    writers = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function")

    assert [path.name for path in sorted(Path(STATIC).glob("*.js")) if writers.search(path.read_text())] == []


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({}, {"echoGuard": "guarded", "pushToTalkOnly": False}),
        ({"echo_guard": "half_duplex", "turn_taking": "button"}, {"echoGuard": "half_duplex", "pushToTalkOnly": True}),
    ],
)
def test_page_listens_as_the_published_version_says_and_not_the_draft(
    client: Client, content: dict[str, Any], expected: dict[str, Any]
) -> None:
    agent = published(public_name="lexi")
    version = AgentVersion.objects.create(agent=agent, number=2, content=content, content_hash="2")
    Agent.objects.filter(pk=agent.pk).update(live_version=version, echo_guard="half_duplex", turn_taking="quiet")

    page = json_of(client.get("/talk/lexi/"), "page-settings")

    assert {name: page[name] for name in expected} == expected
