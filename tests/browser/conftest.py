"""Owns the browser of the page's tests, the server that feeds it, and what every such test begins with."""

from __future__ import annotations

import base64
import math
import os
import shutil
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from django.test import Client
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from agents_app.models import Agent, AgentVersion
from tests.browser import fake_server
from tests.browser.fake_server import Caller, FakeServer
from tests.make import make_agent, make_clinic

CHROMIUM = shutil.which("chromium")
# The fake microphone beeps twice a second; processing would take the beeps for noise and mute them.
FLAGS = [
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    *(["--no-sandbox"] if os.geteuid() == 0 else []),
]
NOTICE = "You will talk with an automated assistant. Words and sound of this call are kept for our staff."
expect.set_options(timeout=fake_server.PATIENCE_S * 1000)
TAP = Path(__file__).with_name("tap.js")


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def server() -> AsyncIterator[FakeServer]:
    async with fake_server.serve(FakeServer()) as running:
        yield running


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browser() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


@pytest.fixture
def agent(db: None) -> Agent:
    clinic = make_clinic(
        name="Barton Dental",
        phone="+1 541 555 0100",
        address="12 Harbour Street, Springfield",
        recording_enabled=True,
        recording_notice=NOTICE,
    )
    agent = make_agent(clinic, name="Lexi", public_name="lexi")
    agent.live_version = AgentVersion.objects.create(agent=agent, number=1, content={}, content_hash="0")
    agent.save()
    return agent


@pytest.fixture
def talk_page(agent: Agent, client: Client, server: FakeServer) -> str:
    """The address of the talk page, rendered by Django and served by the fake server."""
    server.forget()
    host = f"127.0.0.1:{server.port}"
    response = client.get("/talk/lexi/", headers={"host": host})
    server.pages["/talk/lexi/"] = fake_server.Page(response.content, dict(response.headers))
    worklet = TAP.with_name("tap_worklet.js").read_bytes()
    server.pages["/tap_worklet.js"] = fake_server.Page(worklet, {"content-type": "text/javascript"})
    return f"http://{host}/talk/lexi/"


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context(viewport={"width": 1280, "height": 860}, reduced_motion="reduce")
    context.set_default_timeout(fake_server.PATIENCE_S * 1000)
    await context.add_init_script(path=TAP)
    yield context
    await context.close()


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def modules(browser: Browser, server: FakeServer) -> AsyncIterator[Page]:
    """An empty page of the server's, from which the pure modules can be imported."""
    page = await browser.new_page()
    await page.goto(f"{server.origin}/empty")
    yield page
    await page.close()


@pytest_asyncio.fixture(loop_scope="package")
async def page(context: BrowserContext, talk_page: str) -> AsyncIterator[Page]:
    """The talk page, just opened. A script error or a breach of its own policy fails the test."""
    page = await context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if is_fault(message.text) else None)
    await page.goto(talk_page)
    yield page
    await page.evaluate("localStorage.clear()")
    await context.clear_cookies()
    await page.close()
    assert faults == []


async def status(page: Page, name: str) -> None:
    """Wait until the page shows a state."""
    await page.wait_for_selector(f"body[data-status={name}]")


def is_fault(text: str) -> bool:
    return "Content Security Policy" in text or "Error:" in text


@pytest.fixture
def begin(page: Page, server: FakeServer) -> Callable[..., Any]:
    """Begin a call: press Start, and let the server say that the session stands."""

    async def begin(mode: str = "voice", *, start: str = "", **call: Any) -> Caller:
        await page.click(start or f"#start-{mode}")
        caller = await server.caller()
        facts = {"reference": "7K4Q", "recording": True, "demo_voice": True, "max_call_s": 600}
        await caller.send(SESSION_CREATED, {"type": "frontdesk.call", **facts, **call})
        await page.wait_for_selector("body[data-status=listening]")
        return caller

    return begin


SESSION_CREATED = {"type": "session.created", "session": {"type": "realtime", "id": "sess_1"}}


def tone(duration_ms: int, *, hertz: int = 440) -> bytes:
    """PCM16 at 24 kHz that begins and ends with a sound, full scale and both signs included."""
    count = duration_ms * 24
    samples = [round(20000 * math.sin(2 * math.pi * hertz * n / 24000)) for n in range(count)]
    samples[0:3], samples[-1] = [32767, -32768, -1], 1
    return struct.pack(f"<{count}h", *samples)


def reply(item: str, text: str, pcm: bytes, *, response: str = "resp_1", chunk_ms: int = 100) -> list[dict[str, Any]]:
    """The events of a spoken reply, up to but without its `.done` events: `done` has those."""
    ids = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}
    step = chunk_ms * 48
    added = {"id": item, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    return [
        {"type": "response.created", "response": {"id": response, "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "response_id": response, "output_index": 0, "item": added},
        {"type": "conversation.item.added", "item": added, "previous_item_id": None},
        {"type": "response.output_audio_transcript.delta", "delta": text, **ids},
        *(
            {"type": "response.output_audio.delta", "delta": base64.b64encode(pcm[at : at + step]).decode(), **ids}
            for at in range(0, len(pcm), step)
        ),
    ]


def done(item: str, text: str, *, response: str = "resp_1", status: str = "completed") -> list[dict[str, Any]]:
    ids = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}
    content = [{"type": "output_audio", "transcript": text}]
    finished = {"id": item, "type": "message", "role": "assistant", "status": "completed", "content": content}
    return [
        {"type": "response.output_audio.done", **ids},
        {"type": "response.output_audio_transcript.done", "transcript": text, **ids},
        {"type": "conversation.item.done", "item": finished, "previous_item_id": None},
        {"type": "response.output_item.done", "response_id": response, "output_index": 0, "item": finished},
        {"type": "response.done", "response": {"id": response, "status": status, "output": []}},
    ]


@pytest.fixture
def refuse_microphone(page: Page) -> Callable[..., Any]:
    """Let getUserMedia fail in the way that is named, as no browser can be told to by its options."""

    async def refuse(name: str, message: str = "Permission denied") -> None:
        await page.evaluate(
            """([name, message]) => {
              MediaDevices.prototype.getUserMedia = async () => { throw new DOMException(message, name); };
            }""",
            [name, message],
        )

    return refuse
