"""The review pages in a real browser: sound, keys, search, looks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from django.test import Client
from playwright.async_api import Browser, Page

from agents_app.models import Clinic
from agents_app.practice.models import Task
from sessions_app.models import CallSession
from tests.browser.conftest import is_fault
from tests.make import make_agent, make_clinic, make_user
from tests.make_calls import make_booking, make_call, make_emergency, make_item, make_version
from tests.make_sound import write_sound

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

PATIENCE_MS = 20_000
WIDTHS = {"wide": (1280, 860), "narrow": (390, 844)}
PAYLOAD = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"


@dataclass(frozen=True)
class Office:
    """A clinic with three calls, as its staff meet them. Made before the browser: it runs inside an event loop."""

    url: str
    cookie: str
    clinic: Clinic
    older: CallSession
    call: CallSession
    newer: CallSession

    def page_of(self, call: CallSession, query: str = "") -> str:
        return f"{self.url}/calls/{call.pk}/{query}"


@pytest.fixture
def office(live_server: Any, transactional_db: None) -> Office:
    clinic = make_clinic(name="Barton Dental", recording_enabled=True)
    user = make_user(clinic, username="maya")
    agent = make_agent(clinic, name="Lexi", public_name="lexi")
    make_version(agent, published_by=user)
    older, call, newer = make_call(clinic, outcome="message"), make_booking(clinic), make_emergency(clinic)
    make_item(older, f"Please call me back. {PAYLOAD}")
    Task.objects.create(
        clinic=clinic,
        kind="callback",
        priority="urgent",
        caller_name="Maria Santos",
        phone="+1 541 555 0142",
        text=f"Her crown came loose. {PAYLOAD}",
        call_id=older.pk,
    )
    write_sound(call)
    client = Client()
    client.force_login(user)
    return Office(live_server.url, client.cookies["sessionid"].value, clinic, older, call, newer)


@pytest_asyncio.fixture(loop_scope="package")
async def desk(browser: Browser, office: Office) -> AsyncIterator[Page]:
    """A browser of somebody who has signed in. A script error or a breach of the page's own policy fails the test."""
    context = await browser.new_context(
        viewport={"width": 1280, "height": 860}, reduced_motion="reduce", permissions=["clipboard-write"]
    )
    context.set_default_timeout(PATIENCE_MS)
    await context.add_cookies([{"name": "sessionid", "value": office.cookie, "url": office.url}])
    page = await context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if is_fault(message.text) else None)
    yield page
    assert faults == []
    await context.close()


async def value(page: Page, script: str) -> Any:
    return await page.evaluate(script)


async def wait(page: Page, condition: str) -> None:
    """Wait until `condition` holds. Playwright's own way evaluates text, which the page's policy forbids."""
    await page.evaluate(
        f"""new Promise((done, fail) => {{
          const end = performance.now() + {PATIENCE_MS};
          const look = () => {{
            if ({condition}) done();
            else if (performance.now() > end) fail(new Error("It did not come to pass"));
            else requestAnimationFrame(look);
          }};
          look();
        }})"""
    )


@pytest_asyncio.fixture(loop_scope="package")
async def review(desk: Page, office: Office) -> Page:
    """The booking's page, its sound known."""
    await desk.goto(office.page_of(office.call))
    await wait(desk, "document.getElementById('sound').readyState >= 1")
    return desk


POSITION_S = "document.getElementById('sound').currentTime"


async def test_a_line_plays_the_sound_from_where_it_begins(review: Page) -> None:
    await review.click("#line-8 [data-seek]")

    await wait(review, f"{POSITION_S} > 34.6 && !document.getElementById('sound').paused")
    assert await review.get_attribute("#line-8", "aria-current") == "true"
    assert await review.get_attribute("#play", "aria-label") == "Pause"
    assert await value(review, POSITION_S) < 40


async def test_the_current_line_follows_the_sound(review: Page) -> None:
    await review.click("#line-2 [data-seek]")
    await wait(review, "document.getElementById('line-2').getAttribute('aria-current') === 'true'")

    await review.evaluate("document.getElementById('sound').currentTime = 9.2")

    await wait(review, "document.getElementById('line-3').getAttribute('aria-current') === 'true'")
    assert await review.get_attribute("#line-2", "aria-current") is None


async def test_both_voices_are_in_the_sound_each_on_its_side(review: Page) -> None:
    loud = await review.evaluate(
        """async () => {
          const bytes = await (await fetch(document.getElementById("sound").src)).arrayBuffer();
          const sound = await new OfflineAudioContext(2, 1, 24000).decodeAudioData(bytes);
          const energy = (channel, at) => sound.getChannelData(channel)
            .slice(at * 24000, (at + 1) * 24000).reduce((sum, x) => sum + x * x, 0) > 100;
          return [energy(0, 7), energy(1, 7), energy(0, 10), energy(1, 10), Math.round(sound.duration)];
        }"""
    )

    assert loud == [True, False, False, True, 84]


async def test_keys_move_play_and_change_speed(review: Page) -> None:
    for key in ("3", "l", "j", "j", "."):
        await review.keyboard.press(key)

    assert await review.input_value("#position") == "15300"
    assert await review.input_value("#speed") == "1.25"
    await review.keyboard.press("k")
    await wait(review, "!document.getElementById('sound').paused")
    await review.keyboard.press("Space")
    await wait(review, "document.getElementById('sound').paused")
    assert await value(review, "document.getElementById('sound').playbackRate") == 1.25


async def test_the_position_is_moved_by_arrows_and_says_where_it_is(review: Page) -> None:
    await review.focus("#position")

    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "ArrowUp"):
        await review.keyboard.press(key)

    assert await review.input_value("#position") == "10000"
    said = await review.get_attribute("#position", "aria-valuetext")
    assert said == "0 minutes 10 seconds of 1 minutes 24 seconds, Lexi speaking"


async def test_keys_lead_to_the_next_tool_interruption_failure_and_line(review: Page) -> None:
    places = []
    for key in ("t", "e", "i", "Shift+ArrowRight", "Shift+ArrowLeft"):
        await review.keyboard.press(key)
        places.append(await review.input_value("#position"))

    assert places == ["18400", "20100", "24900", "31200", "24900"]


async def test_keys_are_letters_while_somebody_types(review: Page) -> None:
    await review.keyboard.press("/")
    await review.keyboard.type("jlk 5")

    assert await review.input_value("#search") == "jlk 5"
    assert await review.input_value("#position") == "0"


async def test_keys_can_be_turned_off_and_stay_off(review: Page) -> None:
    await review.keyboard.press("?")
    await review.uncheck("#keys-on")
    await review.click("dialog button")
    await review.keyboard.press("5")
    await review.reload()
    await review.keyboard.press("5")

    assert await review.input_value("#position") == "0"


async def test_search_counts_marks_and_steps_through_hits(review: Page) -> None:
    await review.fill("#search", "TUESDAY")
    hits = await review.text_content("#search-hits")
    await review.keyboard.press("Enter")
    first = await review.text_content("#search-hits")
    await review.click("#search-previous")

    assert (hits, first, await review.text_content("#search-hits")) == ("4", "1 of 4", "4 of 4")
    assert await value(review, "document.querySelector('.hit-now').id") == "line-8"
    assert await value(review, "document.querySelectorAll('.mark-hit').length") == 4
    await review.keyboard.press("/")
    await review.keyboard.press("Escape")
    assert await value(review, "document.querySelectorAll('.hit, .mark-hit').length") == 0


async def test_scrolling_by_hand_ends_following_until_asked_back(review: Page) -> None:
    await review.click("#line-2 [data-seek]")
    await wait(review, "document.querySelector('[aria-current=true]')?.id === 'line-2'")

    await review.mouse.wheel(0, 600)
    await wait(review, "document.getElementById('follow').getAttribute('aria-pressed') === 'false'")
    await review.click("#return")

    assert await review.get_attribute("#follow", "aria-pressed") == "true"
    assert await review.is_hidden("#return")


async def test_the_speed_is_remembered(review: Page, office: Office) -> None:
    await review.select_option("#speed", "1.5")

    await review.goto(office.page_of(office.call))

    assert await review.input_value("#speed") == "1.5"
    assert await value(review, "document.getElementById('sound').playbackRate") == 1.5


async def test_a_link_opens_where_it_was_copied_and_keeps_the_filter(desk: Page, office: Office) -> None:
    await desk.goto(office.page_of(office.call, "?outcome=booked&t=31.4"))
    await wait(desk, "document.querySelector('[aria-current=true]')?.id === 'line-7'")
    await desk.keyboard.press("l")

    await desk.click("#copy-link")

    await wait(desk, "location.search === '?outcome=booked&t=41.4'")
    await wait(desk, "document.getElementById('toast').textContent.includes('0:41')")


async def test_brackets_lead_to_the_neighbouring_calls(review: Page, office: Office) -> None:
    await review.keyboard.press("]")
    await review.wait_for_url(office.page_of(office.older))
    await review.keyboard.press("[")
    await review.wait_for_url(office.page_of(office.call))
    await review.keyboard.press("[")
    await review.wait_for_url(office.page_of(office.newer))


async def test_sound_that_cannot_be_loaded_says_so(desk: Page, office: Office) -> None:
    await desk.route("**/audio", lambda route: route.fulfill(status=404))

    await desk.goto(office.page_of(office.call))

    await wait(desk, "document.getElementById('player-status').textContent.startsWith('The sound could not be')")


async def test_the_event_log_is_fetched_when_it_is_opened_and_filtered_in_place(review: Page) -> None:
    await review.click("#event-log summary")
    await wait(review, "document.querySelectorAll('#event-log tbody tr').length === 18")

    await review.select_option("#event-direction", "own")
    await review.click("#event-log form button")

    await wait(review, "document.querySelectorAll('#event-log tbody tr').length === 1")


async def test_an_event_log_that_could_not_be_loaded_is_asked_for_again(review: Page) -> None:
    await review.route("**/events/", lambda route: route.fulfill(status=500), times=1)
    await review.click("#event-log summary")
    await wait(review, "!document.getElementById('toast').hidden")

    await review.click("#event-log summary")
    await review.click("#event-log summary")

    await wait(review, "document.querySelectorAll('#event-log tbody tr').length === 18")


async def test_tabs_are_walked_with_arrows(review: Page) -> None:
    await review.focus("#pane-summary-tab")

    await review.keyboard.press("ArrowRight")

    assert await review.is_visible("#pane-timing")
    assert await review.is_hidden("#pane-summary")
    assert await value(review, "document.activeElement.id") == "pane-timing-tab"


async def test_a_call_without_sound_is_still_walked_by_its_lines(desk: Page, office: Office) -> None:
    await desk.goto(office.page_of(office.newer))

    await desk.click("#line-2 [data-seek]")

    assert await desk.get_attribute("#line-2", "aria-current") == "true"


async def test_a_call_is_reviewed_and_the_next_one_opened_without_a_mouse(review: Page, office: Office) -> None:
    await review.focus("button[name=next]")
    await review.keyboard.press("Enter")

    await review.wait_for_url(office.page_of(office.older))
    assert "is marked as reviewed" in (await review.text_content(".notes") or "")


async def test_what_a_caller_said_never_runs(desk: Page, office: Office) -> None:
    for path in (f"/calls/{office.older.pk}/", "/tasks/"):
        await desk.goto(office.url + path)

        assert await desk.title() != "run"
        assert "<script>document.title" in await desk.inner_text("main")


async def test_a_list_row_leads_to_its_call_by_a_click_anywhere(desk: Page, office: Office) -> None:
    await desk.goto(f"{office.url}/calls/?outcome=booked")

    box = await desk.locator(".cell-outcome").bounding_box()
    assert box is not None
    await desk.mouse.click(box["x"] + 5, box["y"] + 5)

    await desk.wait_for_url(office.page_of(office.call, "?outcome=booked"))


async def look(page: Page, folder: Path, name: str) -> list[str]:
    """Keep a picture, and return what is wrong with the page as it stands."""
    await page.screenshot(path=folder / f"{name}.png", full_page=True)
    results = await Axe().run(page)
    found = [f"{fault['id']}: {fault['impact']}" for fault in results.response["violations"]]
    too_wide = await page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    return [*found, *(["wider than the window"] if too_wide else [])]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_looks_right(desk: Page, office: Office, tmp_path: Path, width: str, scheme: Any) -> None:
    await desk.set_viewport_size({"width": WIDTHS[width][0], "height": WIDTHS[width][1]})
    await desk.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    faults: dict[str, list[str]] = {}

    for name, path in {
        "list": "/calls/",
        "none": "/calls/?outcome=failed&since=never",
        "tasks": "/tasks/",
        "done": "/tasks/?status=done",
        "silent": f"/calls/{office.newer.pk}/",
        "events": f"/calls/{office.call.pk}/events/",
        "call": f"/calls/{office.call.pk}/?t=27",
    }.items():
        await desk.goto(office.url + path)
        faults[name] = await look(desk, tmp_path, name)
    for tab in ("timing", "cost", "audit"):
        await desk.click(f"#pane-{tab}-tab")
        faults[tab] = await look(desk, tmp_path, tab)
    await desk.evaluate("document.getElementById('help').showModal()")
    faults["help"] = await look(desk, tmp_path, "help")
    await desk.context.clear_cookies()
    await desk.goto(f"{office.url}/login/")
    faults["login"] = await look(desk, tmp_path, "login")

    assert faults == {name: [] for name in faults}
