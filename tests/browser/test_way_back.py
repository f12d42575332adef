"""A line that breaks under the talk page, and a page that is loaded anew: the call goes on, and hears on."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import SESSION_CREATED, done, reply, status, tone
from tests.browser.fake_server import PATIENCE_S, Caller, FakeServer
from tests.browser.test_voice import AUDIO, PLAYBACK, heard, live_tracks, played_out, samples

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]
Begin = Callable[..., Any]

GOING_AWAY = 1001  # what a page may come back after, and a test server can say
NO_STATUS = 1005
TRIED_AGAIN = re.compile(r"Trying again \(([2-9]|\d\d)\)")  # no one try is shown for long
FACTS: dict[str, Any] = {
    "type": "frontdesk.call",
    "reference": "7K4Q",
    "recording": True,
    "demo_voice": True,
    "max_call_s": 600,
}


def token(name: str) -> dict[str, Any]:
    return {"type": "frontdesk.resume", "token": name, "valid_s": 60}


async def at_once(page: Page) -> None:
    """Let the page not wait before it tries to come back."""
    await page.evaluate("Math.random = () => 0")


async def lost(page: Page, caller: Caller, code: int = GOING_AWAY) -> None:
    await caller.close(code)
    await status(page, "reconnecting")


async def back(server: FakeServer, *events: dict[str, Any], name: str = "token_2") -> Caller:
    """Take the page in again, and tell it where it stands."""
    caller = await server.caller()
    await caller.send(SESSION_CREATED, FACTS, *events, token(name))
    return caller


def item(item_id: str, role: str, text: str, *, state: str = "completed") -> dict[str, Any]:
    kind = "output_audio" if role == "assistant" else "input_audio"
    body = {"id": item_id, "type": "message", "role": role, "status": state}
    return {**body, "content": [{"type": kind, "transcript": text}]}


def told_again(item_id: str, role: str, text: str) -> list[dict[str, Any]]:
    about = {"item": item(item_id, role, text), "previous_item_id": None}
    events: list[dict[str, Any]] = [
        {"type": "conversation.item.added", **about},
        {"type": "conversation.item.done", **about},
    ]
    if role == "user":
        kind = "conversation.item.input_audio_transcription.completed"
        events.append({"type": kind, "item_id": item_id, "content_index": 0, "transcript": text})
    return events


async def test_page_whose_line_broke_hears_every_sample_once(page: Page, begin: Begin, server: FakeServer) -> None:
    await at_once(page)
    caller: Caller = await begin()
    pcm = tone(2400)
    await caller.send(token("token_1"), *reply("item_1", "One two three four", pcm))
    await caller.next(PLAYBACK)

    await lost(page, caller)
    again = await back(server)
    report = await again.next(PLAYBACK)
    going_on = report["played_ms"] - 200  # as if the report had come too late
    ids = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}
    rest = base64.b64encode(pcm[going_on * 48 :]).decode()
    await again.send(
        {"type": PLAYBACK, "item_id": "item_1", "played_ms": going_on},
        {"type": "response.output_audio.delta", **ids, "delta": rest},
        *done("item_1", "One two three four"),
    )
    await played_out(again, "item_1", 2400)

    assert again.subprotocols == ["realtime", "frontdesk", "frontdesk-resume.token_1"]
    assert report["item_id"] == "item_1"
    assert [sample for sample in await heard(page) if sample] == [sample for sample in samples([pcm]) if sample]
    assert await page.locator(".caption-text").all_inner_texts() == ["One two three four"]


async def test_sound_stops_when_the_line_is_lost_and_the_microphone_waits_two_seconds_at_most(
    page: Page, begin: Begin, server: FakeServer
) -> None:
    await page.evaluate("Math.random = () => 1")
    caller: Caller = await begin()
    await caller.send(token("token_1"), *reply("item_1", "One two three four", tone(4000)))
    await caller.next(PLAYBACK)
    server.refused_handshakes = 1  # so that it is away for three seconds

    await lost(page, caller)
    sounding = len(await heard(page))
    again = await server.caller()
    silent = len(await heard(page))
    before = len(again.received)
    await again.send(SESSION_CREATED, FACTS, token("token_2"))
    async with asyncio.timeout(PATIENCE_S):
        while again.kinds().count(AUDIO) < 60:
            await again.inbox.get()

    frames = [event["type"] for event in again.received[before:]]
    assert silent - sounding < 24 * 300  # what was in the loudspeaker's own queue
    burst = frames.index("frontdesk.resume")
    assert frames[:burst].count(AUDIO) == 0
    assert await live_tracks(page) == ["live"]


async def test_page_says_how_it_stands_and_the_conversation_stays(page: Page, begin: Begin, server: FakeServer) -> None:
    caller: Caller = await begin("text")
    await caller.send(token("token_1"), *told_again("item_1", "assistant", "Hello, how can I help?"))
    server.refused_handshakes = 99
    await page.evaluate("Math.random = () => 0.05")

    await lost(page, caller)

    await expect(page.locator("#status")).to_contain_text(TRIED_AGAIN)
    assert (
        await page.text_content("#hint") == "What was said is kept. What you type is sent when we are connected again."
    )
    assert await page.locator(".caption-agent").count() == 1
    await expect(page.locator("#state-news")).to_contain_text("Connection lost")
    assert await page.is_enabled("#message")
    assert await page.is_disabled("#switch-mode")


async def test_focus_stays_on_a_button_that_does_nothing_while_the_line_is_lost(
    page: Page, begin: Begin, server: FakeServer
) -> None:
    caller: Caller = await begin("text")
    await caller.send(token("token_1"))
    await page.focus("#switch-mode")
    server.refused_handshakes = 99
    await page.evaluate("Math.random = () => 0.05")

    await lost(page, caller)
    await page.keyboard.press("Enter")
    await expect(page.locator("#status")).to_contain_text(TRIED_AGAIN)

    await expect(page.locator("#switch-mode")).to_be_focused()
    assert await page.get_attribute("#switch-mode", "aria-disabled") == "true"
    assert await page.get_attribute("body", "data-mode") == "text"


async def test_message_typed_without_a_line_is_sent_once_it_is_there(
    page: Page, begin: Begin, server: FakeServer
) -> None:
    caller: Caller = await begin("text")
    await caller.send(token("token_1"))
    await page.fill("#message", "First")
    await page.press("#message", "Enter")
    sent = await caller.next("conversation.item.create")
    added = {**sent["item"], "status": "completed"}
    await caller.send({"type": "conversation.item.added", "item": added, "previous_item_id": None})
    await expect(page.locator(".caption-final")).to_have_count(1)
    await page.evaluate("Math.random = () => 1")

    await lost(page, caller)
    await page.fill("#message", "Second")
    await page.press("#message", "Enter")
    again = await back(server, {"type": "conversation.item.added", "item": added, "previous_item_id": None})
    later = await again.next("conversation.item.create")
    await again.next("response.create")

    assert later["item"]["content"] == [{"type": "input_text", "text": "Second"}]
    assert await page.locator(".caption-text").all_inner_texts() == ["First", "Second"]
    assert again.kinds().count("conversation.item.create") == 1


async def test_message_that_was_lost_on_the_way_is_said_again(page: Page, begin: Begin, server: FakeServer) -> None:
    await at_once(page)
    caller: Caller = await begin("text")
    await caller.send(token("token_1"))
    await page.fill("#message", "Hello?")
    await page.press("#message", "Enter")
    first = await caller.next("conversation.item.create")

    await caller.close(GOING_AWAY)
    again = await back(server)
    second = await again.next("conversation.item.create")
    await again.send({"type": "error", "error": {"code": "invalid_value", "event_id": second["event_id"]}})

    assert second == first
    await status(page, "listening")


# What is sent stays where it is, as when the other end is gone without a word.
_FULL = """() => {
  const honest = Object.getOwnPropertyDescriptor(WebSocket.prototype, "bufferedAmount");
  window.empty = () => Object.defineProperty(WebSocket.prototype, "bufferedAmount", honest);
  Object.defineProperty(WebSocket.prototype, "bufferedAmount", { ...honest, get: () => 2 ** 20 });
}"""


async def test_page_notices_by_itself_that_no_sound_leaves_any_more_and_comes_back(
    page: Page, begin: Begin, server: FakeServer
) -> None:
    await at_once(page)
    caller: Caller = await begin()
    await caller.send(token("token_1"))
    await caller.next("frontdesk.resume")

    await page.evaluate(_FULL)
    again = await server.caller()
    await page.evaluate("window.empty()")
    await again.send(SESSION_CREATED, FACTS, token("token_2"))
    await again.next(AUDIO)

    assert again.subprotocols[-1] == "frontdesk-resume.token_1"
    assert await caller.code() == NO_STATUS
    assert server.callers.empty()


async def test_what_was_chosen_without_a_line_is_told_once_it_is_there(
    page: Page, begin: Begin, server: FakeServer
) -> None:
    await page.evaluate("Math.random = () => 0.1")
    caller: Caller = await begin()
    await caller.send(token("token_1"))
    await page.click(".settings summary")
    await page.check("#push-to-talk")
    await caller.next("session.update")
    server.refused_handshakes = 99

    await lost(page, caller)
    await page.uncheck("#push-to-talk")
    server.refused_handshakes = 0
    again = await back(server)
    told = [(await again.next("session.update"))["session"] for _ in range(2)]

    assert told == [
        {"type": "realtime", "output_modalities": ["audio"]},
        {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad"}}}},
    ]


# Lets time pass by `window.skip`.
_SKIP = """{
  const now = performance.now.bind(performance);
  window.skip = 0;
  performance.now = () => now() + window.skip;
  Math.random = () => 0.2;
}"""


async def test_page_gives_up_after_a_minute_and_offers_a_new_call(page: Page, begin: Begin, server: FakeServer) -> None:
    caller: Caller = await begin()
    await caller.send(token("token_1"))
    await caller.next("frontdesk.resume")
    server.refused_handshakes = 99
    await page.evaluate(_SKIP)

    await lost(page, caller)
    await page.evaluate("window.skip = 61_000")
    await status(page, "error")

    assert await page.text_content("#problem-title") == "The connection was lost"
    assert await page.is_visible("#problem-retry")
    assert await live_tracks(page) == ["ended"]
    assert await page.evaluate("sessionStorage.length") == 0


@pytest.mark.parametrize(("code", "title"), [(4409, "goes on in another window"), (4401, "could not be continued")])
async def test_page_that_may_not_come_back_gives_its_microphone_back_and_says_why(
    page: Page, begin: Begin, server: FakeServer, code: int, title: str
) -> None:
    caller: Caller = await begin()
    await caller.send(token("token_1"))
    await caller.next("frontdesk.resume")

    await caller.close(code)
    await status(page, "error")

    assert title in (await page.text_content("#problem-title") or "")
    assert await live_tracks(page) == ["ended"]
    assert server.callers.empty()
    assert await page.evaluate("sessionStorage.length") == 0


async def test_server_that_is_busy_is_waited_for_as_it_says(page: Page, begin: Begin, server: FakeServer) -> None:
    await at_once(page)
    caller: Caller = await begin("text")
    await caller.send(token("token_1"))
    await lost(page, caller)
    busy = await server.caller()
    began = asyncio.get_running_loop().time()
    await busy.send({"type": "error", "error": {"code": "busy", "message": "x", "retry_after_ms": 700}})
    await busy.close(1013)

    again = await back(server)

    assert asyncio.get_running_loop().time() - began > 0.6
    assert again.subprotocols[-1] == "frontdesk-resume.token_1"
    await page.wait_for_selector("body:not([data-status=reconnecting])")


async def test_page_loaded_anew_offers_to_continue_and_shows_the_conversation(
    page: Page, begin: Begin, server: FakeServer
) -> None:
    page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.accept()))
    caller: Caller = await begin()
    await caller.send(token("token_1"))
    await caller.next("frontdesk.resume")

    await page.reload()
    code = await caller.code()
    await expect(page.locator("#continue")).to_be_visible()
    await page.click("#continue-call")
    recap = {"type": "frontdesk.confirm", "token": "t", "question": "Shall I?", "lines": [["When", "Monday"]]}
    again = await back(
        server,
        *told_again("item_1", "assistant", "Which day?"),
        *told_again("item_2", "user", "Monday"),
        recap,
    )
    await status(page, "listening")
    await again.next(AUDIO)

    assert code == GOING_AWAY
    assert again.subprotocols == ["realtime", "frontdesk", "frontdesk-resume.token_1"]
    assert len(server.key_requests) == 1
    assert await page.locator(".caption-text").all_inner_texts() == ["Which day?", "Monday"]
    assert await page.is_enabled("#recap-yes")
    assert again.kinds()[0] == "session.update"  # by voice, whatever it was before


async def test_page_loaded_anew_can_leave_the_old_call_and_it_need_not_wait(
    page: Page, begin: Begin, server: FakeServer
) -> None:
    page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.accept()))
    caller: Caller = await begin("text")
    await caller.send(token("token_1"))
    await caller.next("frontdesk.resume")
    await page.reload()

    await page.click("#continue-not")
    old = await server.caller()
    code = await old.code()
    await expect(page.locator("#continue")).to_be_hidden()
    await begin("text")

    assert (old.subprotocols[-1], code) == ("frontdesk-resume.token_1", 1000)
    assert len(server.key_requests) == 2


async def test_call_that_has_not_waited_says_so(page: Page, begin: Begin, server: FakeServer) -> None:
    page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.accept()))
    caller: Caller = await begin("text")
    await caller.send(token("token_1"))
    await caller.next("frontdesk.resume")
    await page.reload()

    await page.click("#continue-call")
    over = await server.caller()
    await over.send({"type": "error", "error": {"code": "call_over", "message": "x"}})
    await over.close(4401)
    await status(page, "error")

    assert await page.text_content("#problem-title") == "The call could not be continued"
    assert await page.evaluate("sessionStorage.length") == 0
    assert server.callers.empty()


async def test_page_loaded_anew_tries_again_while_its_call_waits(page: Page, begin: Begin, server: FakeServer) -> None:
    page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.accept()))
    caller: Caller = await begin("text")
    await caller.send(token("token_1"))
    await caller.next("frontdesk.resume")
    await page.reload()
    await at_once(page)
    server.refused_handshakes = 2

    await page.click("#continue-call")
    busy = await server.caller()
    await busy.close(4013)  # 1013, as Daphne spells it
    again = await back(server, *told_again("item_1", "assistant", "Which day?"))
    await again.next("frontdesk.resume")

    assert again.subprotocols[-1] == "frontdesk-resume.token_1"
    assert len(server.key_requests) == 1
    assert await page.locator(".caption-text").all_inner_texts() == ["Which day?"]


async def test_page_loaded_anew_gives_up_when_its_call_waits_no_more(
    page: Page, begin: Begin, server: FakeServer
) -> None:
    page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.accept()))
    caller: Caller = await begin("text")
    await caller.send(token("token_1"))
    await caller.next("frontdesk.resume")
    await page.reload()
    await page.evaluate(_SKIP)
    server.refused_handshakes = 99

    await page.click("#continue-call")
    kept = await page.evaluate("sessionStorage.length")
    await page.evaluate("window.skip = 61_000")
    await status(page, "error")

    assert kept == 1
    assert await page.text_content("#problem-title") == "The connection was lost"
    assert await page.evaluate("sessionStorage.length") == 0


@pytest.mark.parametrize(("button", "modality"), [("retry", "audio"), ("type", "text")])
async def test_call_that_waits_goes_on_after_a_refused_microphone(
    page: Page, begin: Begin, server: FakeServer, refuse_microphone: Callable[..., Any], button: str, modality: str
) -> None:
    page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.accept()))
    caller: Caller = await begin()
    await caller.send(token("token_1"))
    await caller.next("frontdesk.resume")
    await page.reload()
    await page.evaluate("void (window.honest = MediaDevices.prototype.getUserMedia)")
    await refuse_microphone("NotAllowedError")
    await page.click("#continue-call")
    await status(page, "error")

    await page.evaluate("void (MediaDevices.prototype.getUserMedia = window.honest)")
    await page.click(f"#problem-{button}")
    again = await back(server)
    told = await again.next("session.update")

    assert again.subprotocols[-1] == "frontdesk-resume.token_1"
    assert told["session"]["output_modalities"] == [modality]
    assert len(server.key_requests) == 1


async def test_giving_up_an_old_call_leaves_the_way_back_to_the_new_one(page: Page, begin: Begin) -> None:
    page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.accept()))
    old: Caller = await begin("text")
    await old.send(token("token_1"))
    await old.next("frontdesk.resume")
    await page.reload()
    await page.evaluate(
        """void (window.WebSocket = new Proxy(WebSocket, {
          construct: (target, [address, protocols]) =>
            protocols.at(-1).endsWith("token_1") ? (window.late = new EventTarget()) : new target(address, protocols),
        }))"""
    )

    await page.click("#continue-not")
    new: Caller = await begin("text")
    await new.send(token("token_2"))
    await new.next("frontdesk.resume")
    await page.evaluate("window.late.dispatchEvent(new Event('close'))")

    assert await page.evaluate("JSON.parse(sessionStorage['frontdesk.call']).token") == "token_2"


async def test_nothing_is_offered_after_a_minute_or_after_an_end_or_for_another_receptionist(
    page: Page, begin: Begin, server: FakeServer
) -> None:
    page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.accept()))
    caller: Caller = await begin("text")
    await caller.send(token("token_1"))
    await caller.next("frontdesk.resume")
    entry = await page.evaluate("sessionStorage['frontdesk.call']")
    await page.click("#end")
    ended = await page.evaluate("sessionStorage.length")

    shown = []
    for change in ("old", "rosa", "number", "text", ""):
        await page.evaluate(_PUT, [entry, change])
        await page.reload()
        shown.append(await page.is_visible("#continue"))

    assert ended == 0
    assert shown == [False, False, False, False, True]


_PUT = """([text, change]) => {
  let entry = { ...JSON.parse(text), aliveAt: Date.now() };
  if (change === "old") entry.aliveAt -= 61_000;
  if (change === "rosa") entry.publicName = "rosa";
  if (change === "number") entry.token = 7;
  if (change === "text") entry = "x";
  sessionStorage["frontdesk.call"] = JSON.stringify(entry);
}"""


async def test_waits_grow_within_bounds_and_are_longer_for_a_server_that_restarts(modules: Page) -> None:
    waits = await modules.evaluate(
        """async () => {
          const { waitMs, mayComeBack } = await import("/static/sessions_app/line.js");
          const spans = (code) => Array.from({ length: 12 }, (_, tries) => waitMs(tries, { code, share: 1 }));
          return {
            broken: spans(1006), restart: spans(1012), none: waitMs(9, { code: 1006, share: 0 }),
            back: [1000, 1001, 1005, 1006, 1011, 1012, 1013, 4401, 4409, 4429, 4500].filter(mayComeBack),
          };
        }"""
    )

    assert waits["broken"] == [2000] * 7 + [4000, 8000, 16000, 30000, 30000]
    assert waits["restart"] == [8000, 16000] + [30000] * 10
    assert waits["none"] == 0
    assert waits["back"] == [1001, 1005, 1006, 1012, 1013]
