"""Each failure of the talk page: plain words, and a way out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from agents_app.models import Agent
from sessions_app.views.talk_texts import texts
from tests.browser.conftest import NOTICE, SESSION_CREATED, status
from tests.browser.fake_server import Caller, FakeServer

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]
Begin = Callable[..., Any]


@pytest.fixture
def problems(agent: Agent) -> dict[str, Any]:
    found: dict[str, Any] = texts(agent)["problem"]
    return found


async def shown(page: Page) -> tuple[str, str, list[str]]:
    """Return title, text and ways out of the problem on the page."""
    await status(page, "error")
    ways = {
        "retry": "#problem-retry",
        "type": "#problem-type",
        "leave": "#callback",
        "phone": "#problem a[href^='tel:']",
    }
    open_ways = [name for name, selector in ways.items() if await page.locator(selector).is_visible()]
    return await page.inner_text("#problem-title"), await page.inner_text("#problem-text"), open_ways


def expected(problem: dict[str, Any]) -> tuple[str, str, list[str]]:
    return problem["title"], problem["text"], problem["ways"]


ANY_START = "#start-text:visible, #problem-type:visible, #problem-retry:visible"
MICROPHONE = [
    ("NotAllowedError", "Permission denied", "microphone_refused"),
    ("NotAllowedError", "Permission denied by system", "microphone_system"),
    ("NotFoundError", "", "microphone_missing"),
    ("NotReadableError", "", "microphone_busy"),
    ("SecurityError", "", "microphone_policy"),  # the last: it cannot be tried again
]


async def test_each_fault_of_the_microphone_is_told_and_leaves_typing(
    page: Page, server: FakeServer, problems: dict[str, Any], refuse_microphone: Callable[..., Any]
) -> None:
    told = []
    for name, message, _ in MICROPHONE:
        await refuse_microphone(name, message)
        await page.click("#start-voice:visible, #problem-retry:visible")
        told.append(await shown(page))

    assert told == [expected(problems[problem]) for _, _, problem in MICROPHONE]
    assert server.key_requests == []


async def test_a_refused_microphone_brings_steps_and_trying_again_asks_again(
    page: Page, server: FakeServer, refuse_microphone: Callable[..., Any]
) -> None:
    await page.evaluate("void (window.honest = MediaDevices.prototype.getUserMedia)")
    await refuse_microphone("NotAllowedError")
    await page.click("#start-voice")
    await status(page, "error")
    steps = await page.locator("#problem-steps li").all_text_contents()
    await expect(page.locator("#problem-title")).to_be_focused()

    await page.evaluate("void (MediaDevices.prototype.getUserMedia = window.honest)")
    await page.click("#problem-retry")
    await server.caller()

    assert len(steps) == 3
    assert steps[1] == "Switch Microphone on."


async def test_typing_instead_goes_on_after_a_refused_microphone(
    page: Page, server: FakeServer, refuse_microphone: Callable[..., Any]
) -> None:
    await refuse_microphone("NotAllowedError")
    await page.click("#start-voice")
    await page.click("#problem-type")
    caller = await server.caller()
    await caller.send(SESSION_CREATED)

    await status(page, "listening")
    await expect(page.locator("#message")).to_be_focused()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("Object.defineProperty(window, 'isSecureContext', {value: false})", "insecure"),
        ("Object.defineProperty(navigator, 'mediaDevices', {value: undefined})", "unsupported"),
        (
            "for (const name of ['permissionsPolicy', 'featurePolicy'])"
            " Object.defineProperty(document, name, {value: {allowsFeature: () => false}})",
            "microphone_policy",
        ),
    ],
)
async def test_a_page_that_can_have_no_microphone_says_why_and_offers_typing(
    page: Page, problems: dict[str, Any], change: str, problem: str
) -> None:
    await page.evaluate(change)

    await page.click("#start-voice")

    assert await shown(page) == expected(problems[problem])


KEYS = [
    (403, "origin_not_allowed", "key_origin"),
    (404, "model_not_found", "key_unknown"),
    (429, "rate_limited", "key_rate"),
    (429, "busy", "key_busy"),
    (429, "budget", "close_4430"),
    (503, "upstream_not_configured", "key_upstream"),
    (500, "server_error", "key_other"),
]


async def test_each_refusal_of_a_key_is_told(page: Page, server: FakeServer, problems: dict[str, Any]) -> None:
    told = []
    for answer, code, _ in KEYS:
        server.key_answers.append((answer, {"error": {"type": "x", "code": code, "message": "x", "param": None}}))
        await page.click(ANY_START)
        told.append(await shown(page))
        if "retry" not in told[-1][2]:
            await page.reload()

    assert told == [expected(problems[problem]) for _, _, problem in KEYS]


async def test_who_finds_no_free_line_leaves_a_number_and_reads_so(page: Page, server: FakeServer) -> None:
    busy = (429, {"error": {"type": "x", "code": "busy", "message": "x", "param": None}})
    server.key_answers += [busy, busy]
    posted: list[str | None] = []
    answers = [(503, {}), (429, {}), (400, {"errors": {"phone": "Write it all."}}), (201, {"phone": "541-555-0123"})]

    async def take(route: Route) -> None:
        status_code, body = answers[len(posted)]
        posted.append(route.request.post_data)
        await route.fulfill(status=status_code, json=body)

    await page.route("**/talk/lexi/callback/", take)
    problem, kept = page.locator("#callback-problem"), page.locator("#callback-kept")

    await page.click("#start-text")
    await page.fill("#callback-phone", "12")
    await page.keyboard.press("Enter")
    await expect(problem).to_have_text("Your number could not be noted. Please try again, or call us by phone.")
    await page.focus("#callback button")
    await page.keyboard.press("Enter")
    await expect(problem).to_have_text("We cannot note more numbers just now. Please call us by phone.")
    await expect(page.locator("#callback button")).to_be_focused()
    await page.click("#callback button")
    await expect(problem).to_have_text("Write it all.")
    await expect(page.locator("#callback-phone")).to_be_focused()
    await expect(page.locator("#callback-phone")).to_have_attribute("aria-invalid", "true")
    await page.keyboard.type("3")
    await page.fill("#callback-name", "Anna")
    await page.click("#callback button")
    await expect(kept).to_be_focused()
    await expect(kept).to_have_text("Thank you. We will call you back on 541-555-0123.")
    await page.click("#problem-retry")
    await status(page, "error")

    assert posted == [*["phone=12&name="] * 3, "phone=123&name=Anna"]
    assert await kept.is_visible()
    assert not await page.locator("#callback").is_visible()


async def test_a_server_out_of_reach_is_told(page: Page, problems: dict[str, Any]) -> None:
    await page.route("**/client_secrets", lambda route: route.abort())

    await page.click("#start-text")

    assert await shown(page) == expected(problems["key_network"])


async def test_a_socket_that_fails_before_it_opens_gets_one_new_key(page: Page, server: FakeServer) -> None:
    server.refused_handshakes = 1

    await page.click("#start-text")
    caller = await server.caller()

    assert caller.subprotocols[-1] == "openai-insecure-api-key.ek_2"


async def test_a_socket_that_fails_twice_is_told_and_asks_for_no_third_key(
    page: Page, server: FakeServer, problems: dict[str, Any]
) -> None:
    server.refused_handshakes = 9

    await page.click("#start-text")

    assert await shown(page) == expected(problems["socket_failed"])
    assert len(server.key_requests) == 2


CODES = [1012, 1013, 4400, 4401, 4403, 4404, 4408, 4409, 4413, 4429, 4430, 4500]


async def test_each_close_code_is_told_in_its_own_words(
    page: Page, server: FakeServer, begin: Begin, problems: dict[str, Any]
) -> None:
    told = []
    for code in CODES:
        caller: Caller = await begin("text", start=ANY_START)
        await caller.close(code)
        told.append(await shown(page))
        if "type" not in told[-1][2]:
            await page.reload()

    assert told == [expected(problems[f"close_{code}"]) for code in CODES]
    assert len({title + text for title, text, _ in told}) == len(CODES)


@pytest.mark.parametrize("reason", ["time_limit", "idle", "upstream", "interrupted"])
async def test_each_reason_of_an_end_is_told(page: Page, begin: Begin, agent: Agent, reason: str) -> None:
    caller: Caller = await begin("text")

    await caller.send({"type": "frontdesk.ended", "reason": reason, "reference": "7K4Q"})
    await caller.close(1000)
    await status(page, "ended")

    words = texts(agent)["ended"][reason]
    assert await page.inner_text("#ended-title") == words["title"]
    assert await page.inner_text("#ended-text") == words["text"]


async def test_the_key_names_the_notice_and_the_choice_and_carries_no_cookie(page: Page, server: FakeServer) -> None:
    await page.context.add_cookies([{"name": "sessionid", "value": "s", "url": server.origin}])
    await page.check("#keep-no-sound")
    await page.click("#start-text")
    await server.caller()
    await page.reload()
    await page.click("#start-text")
    await server.caller()

    seen = hashlib.sha256(NOTICE.encode()).hexdigest()
    session = {"type": "realtime", "model": "lexi"}
    assert server.key_requests == [
        {"session": session, "frontdesk": {"notice_sha256": seen, "recording": choice}}
        for choice in ("declined", "accepted")
    ]
    assert [headers.get("cookie") for headers in server.key_headers] == [None, None]


async def test_a_start_can_be_cancelled_and_leaves_no_socket_behind(page: Page, server: FakeServer) -> None:
    await page.click("#start-text")
    caller = await server.caller()

    await page.click("#end")

    await status(page, "idle")
    assert await caller.code() == 1000
