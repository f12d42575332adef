"""A call by voice on the talk page, in Chromium, with the browser's own fake microphone, which beeps."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import done, reply, status, tone
from tests.browser.fake_server import PATIENCE_S, Caller, FakeServer

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]
Begin = Callable[..., Any]

AUDIO = "input_audio_buffer.append"
SPEECH = {"type": "input_audio_buffer.speech_started", "audio_start_ms": 0, "item_id": "item_9"}
PLAYBACK = "frontdesk.playback"


def samples(frames: list[bytes]) -> list[int]:
    return [sample for (sample,) in struct.iter_unpack("<h", b"".join(frames))]


async def heard(page: Page) -> list[int]:
    """Return what came out of the speaker, without the silence around it."""
    everything: list[int] = await page.evaluate("window.heard")
    sounding = [at for at, sample in enumerate(everything) if sample]
    return everything[sounding[0] : sounding[-1] + 1] if sounding else []


async def played_out(caller: Caller, item: str, duration_ms: int) -> None:
    """Wait until the page says that an item was heard to its end."""
    while (await caller.next(PLAYBACK)) != {"type": PLAYBACK, "item_id": item, "played_ms": duration_ms}:
        pass


async def levels_of(page: Page, *, count: int) -> set[float]:
    """Return so many different levels as the meter has shown."""
    levels: set[float] = set()
    async with asyncio.timeout(PATIENCE_S):
        while len(levels) < count:
            level = await page.evaluate("document.getElementById('meter').style.getPropertyValue('--level')")
            levels.add(float(level or 0))
    return levels


async def comes_true(page: Page, expression: str) -> None:
    """Wait for it from here: the page's own policy forbids the evaluation of text in it."""
    async with asyncio.timeout(PATIENCE_S):
        while not await page.evaluate(expression):
            pass


async def live_tracks(page: Page) -> list[str]:
    states: list[str] = await page.evaluate("window.tracks.map((track) => track.readyState)")
    return states


async def test_a_tap_starts_a_call_whose_sound_arrives_in_frames_of_20_or_40_ms(begin: Begin) -> None:
    caller: Caller = await begin()

    frames = [base64.b64decode((await caller.next(AUDIO))["audio"]) for _ in range(60)]

    assert {len(frame) for frame in frames} <= {960, 1920}
    assert max(map(abs, samples(frames))) > 1000
    assert caller.subprotocols == ["realtime", "frontdesk", "openai-insecure-api-key.ek_1"]
    assert caller.query == "model=lexi"


async def test_no_sound_leaves_before_the_session_stands(page: Page, server: FakeServer) -> None:
    await page.click("#start-voice")
    caller = await server.caller()
    await levels_of(page, count=3)

    assert caller.received == []


async def test_sound_is_played_bit_for_bit_and_counted_to_its_end(page: Page, begin: Begin) -> None:
    caller: Caller = await begin()
    pcm = tone(1500)

    await caller.send(*reply("item_1", "Hello", pcm), *done("item_1", "Hello"))
    await played_out(caller, "item_1", 1500)

    reports = [event["played_ms"] for event in caller.received if event["type"] == PLAYBACK]
    assert await heard(page) == samples([pcm])
    assert reports == sorted(reports)
    assert 6 <= len(reports) <= 10


async def test_interruption_silences_at_once_and_drops_what_is_still_to_come(page: Page, begin: Begin) -> None:
    caller: Caller = await begin()
    await caller.send(*reply("item_1", "One two three four", tone(4000)))
    await caller.next(PLAYBACK)

    await caller.send(SPEECH, *reply("item_1", " five", tone(1000))[4:])
    await status(page, "listening")
    answer = tone(300, hertz=880)
    await caller.send({**SPEECH, "type": "input_audio_buffer.speech_stopped", "audio_end_ms": 900})
    await caller.send(*reply("item_2", "Yes", answer, response="resp_2"), *done("item_2", "Yes", response="resp_2"))
    await played_out(caller, "item_2", 300)

    reports = [event for event in caller.received if event["type"] == PLAYBACK and event["item_id"] == "item_1"]
    cut = reports[-1]["played_ms"]
    sound = await heard(page)
    first = sound[: -len(samples([answer]))]
    last_of_first = max(at for at, sample in enumerate(first) if sample)
    assert 200 <= cut < 4000
    assert abs(last_of_first // 24 - cut) <= 1
    assert sound[-300 * 24 :] == samples([answer])
    assert "conversation.item.truncate" not in caller.kinds()
    assert "response.cancel" not in caller.kinds()
    assert await page.locator(".caption-agent del").first.text_content() != ""


async def test_mute_keeps_the_sound_in_the_browser_while_the_receptionist_is_heard(page: Page, begin: Begin) -> None:
    caller: Caller = await begin()
    await caller.next(AUDIO)
    await page.click("#mute")
    await status(page, "muted")
    # A reply is heard meanwhile: more than a second in which a frame would have come.
    frames = caller.kinds().count(AUDIO)
    await caller.send(*reply("item_1", "Hello", tone(1200)), *done("item_1", "Hello"))
    await played_out(caller, "item_1", 1200)

    assert caller.kinds().count(AUDIO) - frames <= 1  # one may have been on its way
    assert len(await heard(page)) == 1200 * 24
    assert await page.get_attribute("#mute", "aria-pressed") == "true"
    assert await page.inner_text("#mute") == "Mute"  # pressed: a label that changed too would say the opposite

    await page.click("#mute")
    await caller.next(AUDIO)


async def test_volume_changes_the_receptionist_and_not_the_microphone(page: Page, begin: Begin) -> None:
    caller: Caller = await begin()
    await page.click(".settings summary")
    await page.fill("#volume", "0")
    await caller.send(*reply("item_1", "Hello", tone(400)), *done("item_1", "Hello"))
    await played_out(caller, "item_1", 400)

    frames = [base64.b64decode((await caller.next(AUDIO))["audio"]) for _ in range(80)]

    assert await heard(page) == []
    assert max(map(abs, samples(frames))) > 1000
    assert await page.evaluate("JSON.parse(localStorage['frontdesk.preferences']).volume") == 0


async def test_push_to_talk_sends_only_while_held_and_asks_for_an_answer(page: Page, begin: Begin) -> None:
    caller: Caller = await begin()
    await page.click(".settings summary")
    await page.check("#push-to-talk")
    update = await caller.next("session.update")
    await page.focus("#status")
    before = len(caller.received)

    await page.keyboard.down("Space")
    await caller.next("input_audio_buffer.clear")
    for _ in range(10):
        await caller.next(AUDIO)
    await page.keyboard.up("Space")
    await caller.next("response.create")

    kinds = caller.kinds()[before:]
    tail = [kind for kind in kinds if kind != AUDIO]
    assert update["session"] == {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
    assert [kind for kind in kinds[: kinds.index("input_audio_buffer.clear")] if kind == AUDIO][2:] == []
    assert tail == ["input_audio_buffer.clear", "input_audio_buffer.commit", "response.create"]
    assert kinds[-2:] == ["input_audio_buffer.commit", "response.create"]


async def test_hold_to_talk_is_begun_and_ended_by_presses_that_do_not_last(page: Page, begin: Begin) -> None:
    caller: Caller = await begin()
    await page.click(".settings summary")
    await page.check("#push-to-talk")
    await caller.next("session.update")
    before = len(caller.received)

    await page.evaluate("document.getElementById('hold').click()")  # as assistive technology does
    for _ in range(10):
        await caller.next(AUDIO)
    while_held = await page.inner_text("#hold"), await page.get_attribute("#hold", "aria-pressed")
    await page.evaluate("document.getElementById('hold').click()")
    await caller.next("response.create")

    told = [kind for kind in caller.kinds()[before:] if kind != AUDIO]
    assert told == ["input_audio_buffer.clear", "input_audio_buffer.commit", "response.create"]
    assert while_held == ("Listening… release to send", None)


@pytest.mark.parametrize("key", ["Space", "Enter"])
async def test_a_key_on_the_button_holds_it_until_it_is_let_go(page: Page, begin: Begin, key: str) -> None:
    caller: Caller = await begin()
    await page.click(".settings summary")
    await page.check("#push-to-talk")
    await caller.next("session.update")
    before = len(caller.received)

    await page.focus("#hold")
    await page.keyboard.down(key)
    for _ in range(10):
        await caller.next(AUDIO)
    await page.keyboard.up(key)
    await caller.next("response.create")
    await expect(page.locator("#hold")).to_have_text("Hold to talk")

    told = [kind for kind in caller.kinds()[before:] if kind != AUDIO]
    assert told == ["input_audio_buffer.clear", "input_audio_buffer.commit", "response.create"]


async def test_leaving_push_to_talk_while_it_is_held_sends_what_was_said(page: Page, begin: Begin) -> None:
    caller: Caller = await begin()
    await page.click(".settings summary")
    await page.check("#push-to-talk")
    await page.dispatch_event("#hold", "pointerdown", {"pointerId": 1, "bubbles": True})
    await caller.next("input_audio_buffer.clear")
    for _ in range(10):
        await caller.next(AUDIO)
    before = len(caller.received)

    await page.focus("#push-to-talk")
    await page.evaluate("document.getElementById('push-to-talk').click()")
    update = await caller.next("session.update")

    told = [kind for kind in caller.kinds()[before:] if kind != AUDIO]
    assert told == ["input_audio_buffer.commit", "response.create", "session.update"]
    assert update["session"]["audio"]["input"]["turn_detection"] == {"type": "server_vad"}
    await caller.next(AUDIO)


async def test_more_time_is_asked_for_in_mid_call_and_from_the_start_of_the_next(page: Page, begin: Begin) -> None:
    caller: Caller = await begin()
    await page.click(".settings summary")

    await page.check("#more-time")
    asked = await caller.next("session.update")
    await page.click("#end")
    await page.click("#again")
    again: Caller = await begin()
    at_once = await again.next("session.update")

    patient = {"type": "server_vad", "silence_duration_ms": 1200}
    assert asked["session"] == {"type": "realtime", "audio": {"input": {"turn_detection": patient}}}
    assert at_once["session"] == asked["session"]
    assert await page.is_checked("#more-time")


async def test_another_microphone_is_chosen_in_mid_call_without_a_new_connection(
    page: Page, server: FakeServer, begin: Begin
) -> None:
    caller: Caller = await begin()
    await caller.next(AUDIO)
    await page.click(".settings summary")
    chosen = await page.input_value("#microphone")
    others = await page.evaluate("[...document.getElementById('microphone').options].map((option) => option.value)")
    other = next(device for device in others if device != chosen)

    await page.select_option("#microphone", other)
    await comes_true(page, "window.tracks.length === 2 && window.tracks[0].readyState === 'ended'")
    before = len(caller.received)
    while AUDIO not in caller.kinds()[before:]:
        await caller.next(AUDIO)

    in_use = await page.evaluate("window.tracks[1].getSettings().deviceId")
    assert in_use == other == await page.input_value("#microphone")
    assert await page.evaluate("JSON.parse(localStorage['frontdesk.preferences']).microphone") == other
    assert server.callers.empty()
    assert caller.kinds().count("session.update") == 0


# From now on each request for a microphone waits in `window.asked` until it is let through.
_HOLD_BACK = """() => {
  const open = MediaDevices.prototype.getUserMedia;
  window.asked = [];
  MediaDevices.prototype.getUserMedia = async function (wanted) {
    await new Promise((allow) => window.asked.push(allow));
    return open.call(this, wanted);
  };
}"""


async def choose_another_microphone(page: Page) -> None:
    await comes_true(page, "document.getElementById('microphone').options.length > 1")
    await page.evaluate(
        """() => {
          const menu = document.getElementById("microphone");
          menu.selectedIndex = menu.selectedIndex === 0 ? 1 : 0;
          menu.dispatchEvent(new Event("change"));
        }"""
    )


async def test_a_microphone_that_opens_after_the_call_went_on_as_text_is_given_back(page: Page, begin: Begin) -> None:
    caller: Caller = await begin()
    await caller.next(AUDIO)
    await page.evaluate(_HOLD_BACK)
    await choose_another_microphone(page)
    await comes_true(page, "window.asked.length === 1")

    await page.click("#switch-mode")
    await caller.next("session.update")
    await page.evaluate("window.asked[0]()")
    await comes_true(page, "window.tracks.length === 2 && window.tracks[1].readyState === 'ended'")

    assert await live_tracks(page) == ["ended", "ended"]
    assert await page.get_attribute("body", "data-mode") == "text"


async def test_of_two_microphones_chosen_at_once_the_later_is_listened_to_whichever_opens_first(
    page: Page, begin: Begin
) -> None:
    caller: Caller = await begin()
    await caller.next(AUDIO)
    await page.evaluate(_HOLD_BACK)
    await choose_another_microphone(page)
    await choose_another_microphone(page)
    await comes_true(page, "window.asked.length === 2")

    await page.evaluate("window.asked[1]()")
    await comes_true(page, "window.tracks.length === 2 && window.tracks[0].readyState === 'ended'")
    await page.evaluate("window.asked[0]()")
    await comes_true(page, "window.tracks.length === 3 && window.tracks[2].readyState === 'ended'")
    before = caller.kinds().count(AUDIO)
    while caller.kinds().count(AUDIO) < before + 5:
        await caller.next(AUDIO)

    assert await live_tracks(page) == ["ended", "live", "ended"]


async def test_a_loudspeakers_echo_is_learned_anew_when_devices_change(page: Page, begin: Begin) -> None:
    caller: Caller = await begin()
    await caller.next(AUDIO)

    await page.evaluate("navigator.mediaDevices.dispatchEvent(new Event('devicechange'))")
    before = caller.kinds().count(AUDIO)
    while caller.kinds().count(AUDIO) < before + 5:
        await caller.next(AUDIO)

    assert await live_tracks(page) == ["live"]


async def test_half_duplex_sends_silence_while_the_receptionist_is_heard(page: Page, begin: Begin) -> None:
    caller: Caller = await begin()
    await page.click(".settings summary")
    await page.select_option("#echo-guard", "half_duplex")
    await caller.send(*reply("item_1", "Hello", tone(3000)))
    await caller.next(PLAYBACK)
    await caller.next(PLAYBACK)

    frames = [base64.b64decode((await caller.next(AUDIO))["audio"]) for _ in range(40)]  # the fake beeps each second
    report = await caller.next("frontdesk.sound")

    assert set(samples(frames)) == {0}
    assert report["silenced_ms"] > 0
    assert (report["dropped_frames"], report["underruns"]) == (0, 0)


async def test_a_reply_that_runs_dry_is_counted(page: Page, begin: Begin) -> None:
    caller: Caller = await begin()
    await caller.send(*reply("item_1", "One two", tone(400)))
    await played_out(caller, "item_1", 400)

    await caller.send(*reply("item_1", " three", tone(400))[4:], *done("item_1", "One two three"))

    while (report := await caller.next("frontdesk.sound"))["underruns"] == 0:
        pass
    assert report["underruns"] == 1


async def test_a_preview_sends_and_plays_as_over_a_telephone(page: Page, talk_page: str, begin: Begin) -> None:
    assert await page.is_hidden("#telephone-row")
    await page.goto(f"{talk_page}?preview")
    caller: Caller = await begin()
    await page.click(".settings summary")
    await page.check("#telephone")
    await caller.send(*reply("item_1", "Hello", tone(800, hertz=6000)), *done("item_1", "Hello"))
    await played_out(caller, "item_1", 800)

    frames = [base64.b64decode((await caller.next(AUDIO))["audio"]) for _ in range(60)]
    loudest = max(map(abs, (await heard(page))[2400:-2400]))

    assert max(map(abs, samples(frames))) > 1000
    assert {len(frame) for frame in frames} <= {960, 1920}
    assert loudest < 10_000  # of 20,000: a line lets 6 kHz through only in its echo


async def test_push_to_talk_cuts_a_reply_off_by_hand(page: Page, begin: Begin) -> None:
    caller: Caller = await begin()
    await page.click(".settings summary")
    await page.check("#push-to-talk")
    await caller.send(*reply("item_1", "One two three four", tone(4000)))
    await caller.next(PLAYBACK)

    await page.dispatch_event("#hold", "pointerdown", {"pointerId": 1, "bubbles": True})
    cancel = await caller.next("response.cancel")
    truncate = await caller.next("conversation.item.truncate")

    assert cancel["response_id"] == "resp_1"
    assert (truncate["item_id"], truncate["content_index"]) == ("item_1", 0)
    assert 200 <= truncate["audio_end_ms"] < 4000


async def test_goodbye_is_heard_to_its_end_before_the_call_is_taken_down(page: Page, begin: Begin) -> None:
    caller: Caller = await begin()
    pcm = tone(1500)
    await caller.send(*reply("item_1", "Goodbye", pcm), *done("item_1", "Goodbye"))
    await caller.send({"type": "frontdesk.ended", "reason": "goodbye", "reference": "7K4Q"})
    await caller.close(1000)

    await status(page, "ended")

    assert await heard(page) == samples([pcm])
    assert await live_tracks(page) == ["ended"]
    assert await page.text_content("#ended-title") == "Thank you for calling"
    assert await page.text_content("#ended .reference-text") == "7K4Q"


@pytest.mark.parametrize("end", ["button", "server", "lost", "restart", "leaving"])
async def test_microphone_is_given_back_on_every_way_out(page: Page, begin: Begin, end: str) -> None:
    caller: Caller = await begin()
    await caller.next(AUDIO)
    ways: dict[str, Callable[[], Any]] = {
        "button": lambda: page.click("#end"),
        "server": lambda: caller.send({"type": "frontdesk.ended", "reason": "time_limit", "reference": "7K4Q"}),
        "lost": lambda: caller.close(4500),
        "restart": lambda: caller.close(1012),
        "leaving": lambda: page.evaluate("window.dispatchEvent(new PageTransitionEvent('pagehide'))"),
    }

    await ways[end]()
    await page.wait_for_selector("body[data-status=ended], body[data-status=error], body[data-status=idle]")

    assert await live_tracks(page) == ["ended"]
    if end != "leaving":  # then the browser closes the socket, with the page
        assert await caller.code() in (1000, 4500, 1012)


async def test_a_microphone_that_is_pulled_out_gives_way_to_the_default(page: Page, begin: Begin) -> None:
    caller: Caller = await begin()
    await caller.next(AUDIO)

    await page.evaluate("window.tracks[0].dispatchEvent(new Event('ended'))")
    await comes_true(page, "window.tracks.length === 2")
    before = len(caller.received)
    await caller.next(AUDIO)
    while AUDIO not in caller.kinds()[before:]:
        await caller.next(AUDIO)

    hint = "Your microphone was disconnected. We are using another one now."
    await expect(page.locator("#hint")).to_have_text(hint)
    assert await live_tracks(page) == ["ended", "live"]
    assert caller.kinds().count("session.update") == 0


async def test_a_call_without_any_microphone_left_goes_on_as_text(
    page: Page, begin: Begin, refuse_microphone: Callable[..., Any]
) -> None:
    caller: Caller = await begin()
    await caller.next(AUDIO)
    await refuse_microphone("NotFoundError", "Requested device not found")

    await page.evaluate("window.tracks[0].dispatchEvent(new Event('ended'))")
    update = await caller.next("session.update")

    assert update["session"] == {"type": "realtime", "output_modalities": ["text"]}
    assert await page.text_content("#hint") == "Your microphone was disconnected. You can go on by typing."


async def test_a_message_typed_into_a_spoken_reply_takes_the_turn(page: Page, begin: Begin) -> None:
    caller: Caller = await begin()
    await caller.send(*reply("item_1", "One two three four", tone(4000)))
    await caller.next(PLAYBACK)
    before = len(caller.received)

    await page.fill("#message", "Wait")
    await page.press("#message", "Enter")
    await caller.next("response.create")

    told = [kind for kind in caller.kinds()[before:] if kind not in (AUDIO, PLAYBACK)]
    assert told == ["response.cancel", "conversation.item.truncate", "conversation.item.create", "response.create"]


async def test_leaving_during_a_call_asks_and_a_hidden_tab_says_how_it_stands(page: Page, begin: Begin) -> None:
    await begin()

    asked = await page.evaluate("!window.dispatchEvent(new Event('beforeunload', {cancelable: true}))")
    await page.evaluate("Object.defineProperty(document, 'hidden', {value: true})")
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    assert asked is True
    assert await page.title() in (
        "Listening · Talk to Lexi · Barton Dental",
        "One moment… · Talk to Lexi · Barton Dental",
    )


async def test_the_meter_moves_with_the_microphone(page: Page, begin: Begin) -> None:
    await begin()

    await comes_true(page, "Number(document.getElementById('meter').style.getPropertyValue('--level')) > 0.1")
    assert len(await levels_of(page, count=5)) == 5
