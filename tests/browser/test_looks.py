"""Each state of the talk page at both widths: axe finds nothing serious, nothing overflows; a picture is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page

from tests.browser.conftest import SESSION_CREATED, done, reply, status, tone
from tests.browser.fake_server import Caller, FakeServer

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

SECOND_MS = 1000
LINES = [["Visit", "Cleaning"], ["When", "Tuesday 3 March, 10:00 am"], ["With", "Dr Okafor"], ["Name", "Sam Patel"]]


async def look(page: Page, folder: Path, name: str) -> list[str]:
    """Keep a picture, and return what is wrong with the page as it stands."""
    await page.screenshot(path=folder / f"{name}.png", full_page=True)
    faults = await accessibility_faults(page, name)
    if await page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
        faults.append(f"{name}: wider than the window")
    return faults


async def accessibility_faults(page: Page, name: str) -> list[str]:
    results = await Axe().run(page, options={"resultTypes": ["violations"]})
    return [
        f"{name}: {found['id']} {node['target']}"
        for found in results.response["violations"]
        if found["impact"] in ("serious", "critical")
        for node in found["nodes"]
    ]


def said(item: str, text: str, previous: str | None = None) -> list[dict[str, Any]]:
    content = [{"type": "input_audio", "transcript": None}]
    spoken = {"id": item, "type": "message", "role": "user", "status": "completed", "content": content}
    return [
        {"type": "input_audio_buffer.speech_started", "audio_start_ms": 0, "item_id": item},
        {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 900, "item_id": item},
        {"type": "input_audio_buffer.committed", "item_id": item, "previous_item_id": previous},
        {"type": "conversation.item.added", "item": spoken, "previous_item_id": previous},
        {
            "type": "conversation.item.input_audio_transcription.completed",
            "item_id": item,
            "content_index": 0,
            "transcript": text,
        },
    ]


@pytest.mark.parametrize(("width", "height", "scheme"), [(1280, 860, "light"), (390, 844, "light"), (320, 640, "dark")])
async def test_every_state_is_accessible_and_fits(
    page: Page, server: FakeServer, tmp_path: Path, width: int, height: int, scheme: Any
) -> None:
    await page.set_viewport_size({"width": width, "height": height})
    await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    faults: list[str] = []

    async def see(name: str) -> None:
        faults.extend(await look(page, tmp_path, name))

    await see("01-idle")
    await page.click("#start-voice")
    caller: Caller = await server.caller()
    await see("02-connecting")
    facts = {"reference": "7K4Q", "recording": True, "demo_voice": True, "max_call_s": 110}
    await caller.send(SESSION_CREATED, {"type": "frontdesk.call", **facts})
    await status(page, "thinking")
    await see("03-thinking")
    greeting = "Barton Dental, this is Lexi, the automated assistant. How can I help you?"
    await caller.send(*reply("item_1", greeting, tone(60 * SECOND_MS), chunk_ms=2000))
    await status(page, "speaking")
    await see("04-speaking")
    await caller.send(*said("item_2", "I would like to book a cleaning.", "item_1"))
    await caller.send(*done("item_1", greeting, status="cancelled"))
    await status(page, "thinking")
    await caller.send({"type": "frontdesk.tool", "status": "working", "label": "Checking the diary"})
    await status(page, "working")
    await see("05-working")
    await caller.send({"type": "frontdesk.tool", "status": "done", "label": "Checking the diary"})
    question = "Shall I book this for you?"
    await caller.send({"type": "frontdesk.confirm", "token": "t1", "question": question, "lines": LINES})
    await page.click("#mute")
    await page.wait_for_selector("#recap:visible")
    await see("06-recap-muted")
    await caller.send({"type": "frontdesk.confirm_closed", "token": "t1", "answer": "yes"})
    await caller.send({"type": "frontdesk.card", "lines": LINES})
    await page.click("#mute")
    await page.click(".settings summary")
    await page.check("#push-to-talk")
    await page.check("#more-time")
    await page.wait_for_selector(".caption-card")
    await see("07-card-push-to-talk")
    await page.click("#switch-mode")
    await page.click(".settings summary")
    await page.fill("#message", "What does it cost?")
    await page.press("#message", "Enter")
    await see("08-text")
    line = "This sounds like an emergency. Please call 911 now, or go to the nearest emergency room."
    await caller.send({"type": "frontdesk.emergency", "line": line, "number": "911"})
    await page.wait_for_selector("#emergency:visible")
    await see("09-emergency")
    await caller.send({"type": "frontdesk.ended", "reason": "emergency", "reference": "7K4Q"})
    await caller.close(1000)
    await status(page, "ended")
    await see("10-ended")

    assert faults == []


@pytest.mark.parametrize(("width", "height", "scheme"), [(1280, 860, "light"), (390, 844, "dark")])
async def test_the_way_back_is_accessible_and_fits(
    page: Page, server: FakeServer, begin: Callable[..., Any], tmp_path: Path, width: int, height: int, scheme: Any
) -> None:
    await page.set_viewport_size({"width": width, "height": height})
    await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.accept()))
    caller: Caller = await begin()
    await caller.send({"type": "frontdesk.resume", "token": "token_1", "valid_s": 60})
    await caller.send(*said("item_2", "I would like to book a cleaning."))
    await caller.next("frontdesk.resume")
    server.refused_handshakes = 99
    await page.evaluate("Math.random = () => 0.1")

    await caller.close(1001)
    await status(page, "reconnecting")
    faults = await look(page, tmp_path, "13-reconnecting")
    await page.reload()
    await page.wait_for_selector("#continue:visible")
    faults += await look(page, tmp_path, "14-continue")
    server.refused_handshakes = 0
    await page.focus("#continue-call")
    await page.keyboard.press("Enter")
    over = await server.caller()
    await over.close(4401)
    await status(page, "error")
    faults += await look(page, tmp_path, "15-not-continued")

    assert faults == []


async def test_a_refused_microphone_page_is_accessible(
    page: Page, tmp_path: Path, refuse_microphone: Callable[..., Any]
) -> None:
    await refuse_microphone("NotAllowedError")
    await page.click("#start-voice")
    await status(page, "error")

    faults = await look(page, tmp_path, "11-refused")
    await page.set_viewport_size({"width": 390, "height": 844})
    faults += await look(page, tmp_path, "12-refused-narrow")

    assert faults == []
