"""A call that goes on, in a real browser on a real server: over a network that is cut for three seconds, and over a
reload in the middle of a sentence. What comes out of the loudspeaker is measured, sample by sample."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page as BrowserPage
from playwright.async_api import async_playwright, expect

from agents_app.models import Agent
from sessions_app.models import CallSession, Event
from sessions_app.standin.server import Standin
from tests.browser.conftest import CHROMIUM, FLAGS
from tests.faults.proxy import running_proxy
from tests.make_practice import make_practice
from tests.pages import Page
from tests.servers import Server, ended_call, eventually, in_thread, live_agent, new_key
from tests.test_whole_call import MICROPHONE

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"),
]

PATIENCE_MS = 30_000
CUT_S = 3.0
WORDS = "I can book, move and cancel appointments, and I can tell you when we are open and where we are. What is it?"
REPORT_MS = 200  # how often the page says what it has played
SLACK_MS = 150  # on its way to the loudspeaker, and to the server

# Keeps what the page's player hands to the loudspeaker. The real server has no worklet of a test's.
TAP = """
  window.heard = [];
  addEventListener("pagehide", () => { sessionStorage.heard = window.heard.length; });
  const Node = window.AudioWorkletNode;
  window.AudioWorkletNode = class extends Node {
    constructor(context, name, options) {
      super(context, name, options);
      if (name !== "frontdesk-player") return;
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = ({ data }) => { for (const one of data) if (one) window.heard.push(Math.round(one * 32768)); };
      this.port.postMessage({ type: "refer", port: port2 }, [port2]);
    }
  };
"""


def samples(pcm: bytes) -> list[int]:
    """Return the samples that sound: what is silent cannot be told from a pause."""
    return [sample for (sample,) in struct.iter_unpack("<h", pcm) if sample]


async def heard(page: BrowserPage) -> list[int]:
    sounded: list[int] = await page.evaluate("window.heard")
    return sounded


async def hears(page: BrowserPage, count: int) -> None:
    """Wait until so many samples have sounded."""
    async with asyncio.timeout(PATIENCE_MS / 1000):
        while await page.evaluate("window.heard.length") < count:  # noqa: ASYNC110 - its own process
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def talking(server: Server, port: int, agent: Agent) -> AsyncIterator[BrowserPage]:
    """A browser whose page of `agent` is in a call, and hears its first words."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        await page.add_init_script(MICROPHONE)
        await page.add_init_script(TAP)
        page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.accept()))
        await page.goto(f"http://127.0.0.1:{port}/talk/{agent.public_name}/")
        await page.click("#start-voice")
        await hears(page, 24_000)
        yield page
        await browser.close()


async def said_by(server: Server, standin: Standin, agent: Agent, origin: str) -> bytes:
    """Return the sound of the first words, as a caller with a good line hears them."""
    standin.faults.script = [{"say": WORDS}]
    page = Page(f"{server.url}/realtime?model={agent.public_name}", origin=origin)
    await page.call(await in_thread(lambda: new_key(agent, origin=origin)))
    done = await page.kind("response.output_audio.done")
    await page.close()
    standin.faults.script = [{"say": WORDS}]
    return page.heard[done["item_id"]]


async def hears_to_the_end(page: BrowserPage, whole: list[int]) -> list[int]:
    await hears(page, len(whole))
    await page.wait_for_selector("body:not([data-status=speaking])")
    return await heard(page)


async def test_network_cut_for_three_seconds_costs_a_pause_and_no_sample(uvicorn: Server, transactional_db: None):
    async with running_proxy(uvicorn.port) as line, uvicorn.upstream(speech=False) as standin:
        origin = f"http://127.0.0.1:{line.port}"
        agent = await in_thread(lambda: live_agent(make_practice().clinic, origins=(origin,)))
        whole = samples(await said_by(uvicorn, standin, agent, origin))
        async with talking(uvicorn, line.port, agent) as page:
            line.refuse()
            line.reset()
            await page.wait_for_selector("body[data-status=reconnecting]")
            await asyncio.sleep(CUT_S)  # the fault lasts this long
            in_the_gap = await heard(page)
            await line.accept()
            await page.wait_for_selector("body:not([data-status=reconnecting])")
            sounded = await hears_to_the_end(page, whole)
            await page.click("#end")
        call = await ended_call(agent)

    assert sounded == whole
    assert len(in_the_gap) < len(whole) / 2
    assert (call.end_reason, call.epoch) == ("caller", 2)
    assert len(standin.sessions) == 2  # one for each of the calls
    back = await in_thread(lambda: Event.objects.get(session=call, type="caller.back").fields["away_ms"])
    assert back > CUT_S * 1000 - 500


async def test_page_loaded_anew_in_mid_sentence_hears_the_rest_of_it(uvicorn: Server, transactional_db: None):
    origin = uvicorn.origin
    agent = await in_thread(lambda: live_agent(make_practice().clinic, origins=(origin,)))
    async with uvicorn.upstream(speech=False) as standin:
        whole = samples(await said_by(uvicorn, standin, agent, origin))
        async with talking(uvicorn, uvicorn.port, agent) as page:
            await page.reload()
            before = int(await page.evaluate("sessionStorage.heard"))
            held = await eventually(
                lambda: CallSession.objects.filter(version__agent=agent).latest("started_at"),
                lambda call: call.resume_until is not None,
            )
            await page.click("#continue-call")
            await expect(page.locator(".caption-agent")).to_have_count(1)
            await hears(page, 1)
            await page.wait_for_selector("body[data-status=listening]")
            after = await heard(page)
            words = await page.locator(".caption-text").all_inner_texts()
            await page.click("#end")
        call = await ended_call(agent)

    twice = before + len(after) - len(whole)
    assert after == whole[-len(after) :]
    assert -SLACK_MS * 24 < twice < (REPORT_MS + SLACK_MS) * 24
    assert words == [WORDS]
    assert (call.pk, call.end_reason, call.epoch) == (held.pk, "caller", 2)
    assert len(standin.sessions) == 2
