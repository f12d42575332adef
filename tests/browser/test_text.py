"""A call by text and keyboard alone, and what the server shows on the page: recap, card, emergency."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import SESSION_CREATED, status
from tests.browser.fake_server import Caller, FakeServer

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]
Begin = Callable[..., Any]
IDS = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}
CONFIRM = {
    "type": "frontdesk.confirm",
    "token": "t1",
    "question": "Shall I book this?",
    "lines": [["Visit", "Cleaning"], ["When", "Tuesday 3 March, 10:00 am"]],
}


def written(*parts: str) -> list[dict[str, Any]]:
    item = {"id": "item_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    text = "".join(parts)
    return [
        {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "response_id": "resp_1", "output_index": 0, "item": item},
        {"type": "conversation.item.added", "item": item, "previous_item_id": None},
        *({"type": "response.output_text.delta", "delta": part, **IDS} for part in parts),
        {"type": "response.output_text.done", "text": text, **IDS},
        {"type": "response.done", "response": {"id": "resp_1", "status": "completed", "output": []}},
    ]


async def tab_to(page: Page, element: str) -> None:
    """Press Tab until an element has the focus, as who uses no mouse does."""
    for _ in range(30):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.id") == element:
            return
    raise AssertionError(f"Expected Tab to reach {element}, but it did not in 30 presses")


async def test_a_whole_call_by_keyboard_alone_asks_for_no_microphone(page: Page, server: FakeServer) -> None:
    await tab_to(page, "start-text")
    await page.keyboard.press("Enter")
    caller = await server.caller()
    await caller.send(SESSION_CREATED)
    modalities = await caller.next("session.update")
    await expect(page.locator("#message")).to_be_focused()
    await page.keyboard.type("I would like to book a cleaning")
    await page.keyboard.press("Enter")
    said = await caller.next("conversation.item.create")
    await caller.next("response.create")
    await caller.send(
        {"type": "conversation.item.added", "item": said["item"], "previous_item_id": None},
        *written("Of course. ", "When?"),
        CONFIRM,
    )
    await expect(page.locator("#recap")).to_be_visible()
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Shift+Tab")
    await expect(page.locator("#recap-yes")).to_be_focused()
    await page.keyboard.press("Space")
    answer = await caller.next("frontdesk.confirm")
    await expect(page.locator("#message")).to_be_focused()
    await tab_to(page, "end")
    await page.keyboard.press("Enter")

    assert await caller.code() == 1000
    assert modalities["session"] == {"type": "realtime", "output_modalities": ["text"]}
    assert said["item"]["content"] == [{"type": "input_text", "text": "I would like to book a cleaning"}]
    assert len(said["item"]["id"]) <= 32
    assert answer == {"type": "frontdesk.confirm", "token": "t1", "answer": "yes"}
    assert await page.evaluate("window.tracks") == []
    assert await page.locator(".caption-text").all_text_contents() == [
        "I would like to book a cleaning",
        "Of course. When?",
    ]
    await expect(page.locator("#ended-title")).to_be_focused()


async def test_finished_lines_alone_are_read_out(page: Page, begin: Begin) -> None:
    caller: Caller = await begin("text")
    events = written("Of course. ", "When?")

    await caller.send(*events[:4])
    await expect(page.locator(".caption-text")).to_have_text("Of course. ")
    while_growing = await page.text_content("#log")
    await caller.send(*events[4:])
    await expect(page.locator("#log p")).to_have_text("Lexi says: Of course. When?")

    assert while_growing == ""


@pytest.mark.parametrize("answer", ["yes", "change"])
async def test_a_recap_is_answered_once_by_its_buttons(page: Page, begin: Begin, answer: str) -> None:
    caller: Caller = await begin("text")
    await caller.send(CONFIRM)

    await page.click(f"#recap-{answer}")
    told = await caller.next("frontdesk.confirm")
    await expect(page.locator("#recap-yes")).to_be_disabled()
    await expect(page.locator("#recap-change")).to_be_disabled()
    shown = await page.locator("#recap-lines div").all_inner_texts()
    await caller.send({"type": "frontdesk.confirm_closed", "token": "t1", "answer": answer})
    await expect(page.locator("#recap")).to_be_hidden()

    assert told == {"type": "frontdesk.confirm", "token": "t1", "answer": answer}
    assert shown == ["Visit\nCleaning", "When\nTuesday 3 March, 10:00 am"]
    assert caller.kinds().count("frontdesk.confirm") == 1


async def test_a_new_recap_takes_the_place_of_the_last(page: Page, begin: Begin) -> None:
    caller: Caller = await begin("text")
    await caller.send(CONFIRM)
    await page.click("#recap-change")

    await caller.send(
        {**CONFIRM, "token": "t2", "lines": [["When", "Monday"]]},
        {"type": "frontdesk.confirm_closed", "token": "t1", "answer": "change"},
    )

    await expect(page.locator("#recap-lines")).to_have_text("WhenMonday")  # one element: two rows are waited out
    await expect(page.locator("#recap-yes")).to_be_enabled()


async def test_a_recap_does_not_take_the_focus_from_who_is_typing(page: Page, begin: Begin) -> None:
    caller: Caller = await begin("text")
    await page.keyboard.type("Actually ")

    await caller.send(CONFIRM)
    await expect(page.locator("#recap")).to_be_visible()
    await page.keyboard.type("make it ten")

    assert await page.input_value("#message") == "Actually make it ten"
    assert "frontdesk.confirm" not in caller.kinds()


@pytest.mark.parametrize(("mode", "place"), [("voice", "status"), ("text", "message")])
async def test_focus_in_a_recap_goes_on_in_the_call_when_it_is_closed(
    page: Page, begin: Begin, mode: str, place: str
) -> None:
    caller: Caller = await begin(mode)
    await caller.send(CONFIRM)
    await page.focus("#recap-change")

    await caller.send({"type": "frontdesk.confirm_closed", "token": "t1", "answer": "replaced"})
    await expect(page.locator("#recap")).to_be_hidden()

    await expect(page.locator(f"#{place}")).to_be_focused()


async def test_a_result_card_stays_among_the_words_and_after_the_call(page: Page, begin: Begin) -> None:
    caller: Caller = await begin("text")
    await caller.send(*written("Booked."), {"type": "frontdesk.card", "lines": CONFIRM["lines"]})
    await caller.send({"type": "frontdesk.ended", "reason": "goodbye", "reference": "7K4Q"})
    await caller.close(1000)
    await status(page, "ended")

    await expect(page.locator("#ended .caption-card dd")).to_have_text(["Cleaning", "Tuesday 3 March, 10:00 am"])


async def test_an_emergency_shows_the_line_and_a_number_to_tap_which_stay(page: Page, begin: Begin) -> None:
    caller: Caller = await begin("text")
    line = "This sounds like an emergency. Please call now."

    await caller.send({"type": "frontdesk.emergency", "line": line, "number": "9 1 1"})
    await expect(page.locator("#emergency")).to_be_visible()
    await caller.send({"type": "frontdesk.card", "lines": []}, *written("Shall we go on?"))
    await expect(page.locator("#alarm")).to_have_text(f"{line} 9 1 1")
    await page.click("#end")
    await status(page, "ended")

    await expect(page.locator("#emergency-line")).to_have_text(line)
    await expect(page.locator("#emergency-number")).to_have_attribute("href", "tel:911")
    await expect(page.locator("#emergency")).to_be_visible()


async def test_an_emergency_without_a_number_shows_its_line_alone(page: Page, begin: Begin) -> None:
    caller: Caller = await begin("text")
    line = "Please go to the nearest emergency room."

    await caller.send({"type": "frontdesk.emergency", "line": line, "number": ""})
    await expect(page.locator("#alarm")).to_have_text(line)
    shown = await page.is_visible("#emergency-line"), await page.is_visible("#emergency-number")
    await caller.send({"type": "frontdesk.ended", "reason": "emergency", "reference": "7K4Q"})
    await caller.close(1000)
    await status(page, "ended")

    assert shown == (True, False)
    assert await page.inner_text("#ended-text") == "Lexi cannot help with this. Please follow the advice above."


async def test_leaving_the_page_asks_and_dialling_does_not(page: Page, begin: Begin) -> None:
    caller: Caller = await begin("text")
    await caller.send({"type": "frontdesk.emergency", "line": "Please call now.", "number": "911"})
    await expect(page.locator("#emergency-number")).to_be_visible()

    asked = await page.evaluate(
        """() => {
          const asks = () => !dispatchEvent(new Event("beforeunload", { cancelable: true }));
          const before = asks();
          document.addEventListener("click", (event) => event.preventDefault(), { once: true });
          document.querySelector("#emergency-number").click();
          return [before, asks()];
        }"""
    )

    assert asked == [True, False]


async def test_every_state_has_the_phone_and_the_emergency_number(page: Page, begin: Begin) -> None:
    links = "a[href='tel:+15415550100']:visible, a[href='tel:911']:visible"
    seen = [await page.locator(links).count()]
    caller: Caller = await begin("text")
    seen.append(await page.locator(links).count())
    await caller.close(4500)
    await status(page, "error")
    seen.append(await page.locator(links).count())

    assert [count >= 2 for count in seen] == [True, True, True]


async def test_what_the_server_says_is_shown_as_text(page: Page, begin: Begin) -> None:
    evil = "<img src=x onerror=window.ran=1><script>window.ran=1</script>"
    caller: Caller = await begin("text", reference=evil)
    await caller.send(
        *written(evil),
        {**CONFIRM, "question": evil, "lines": [[evil, evil]]},
        {"type": "frontdesk.card", "lines": [[evil, evil]]},
        {"type": "frontdesk.tool", "status": "working", "label": evil},
        {"type": "frontdesk.emergency", "line": evil, "number": "javascript:alert(1)"},
    )
    await expect(page.locator("#emergency-line")).to_have_text(evil)

    assert await page.locator("main img, main script").count() == 0
    assert await page.evaluate("window.ran") is None
    assert await page.get_attribute("#emergency-number", "href") == "tel:1"


async def test_a_refused_message_is_marked_as_not_sent(page: Page, begin: Begin) -> None:
    caller: Caller = await begin("text")
    await page.fill("#message", "Hello")
    await page.press("#message", "Enter")
    sent = await caller.next("conversation.item.create")

    error = {"type": "invalid_request_error", "code": "invalid_value", "message": "No.", "event_id": sent["event_id"]}
    await caller.send({"type": "error", "error": error})

    await expect(page.locator(".caption-caller .caption-text")).to_have_text("Hello (not sent)")


async def test_voice_and_text_are_switched_within_one_call(page: Page, begin: Begin) -> None:
    caller: Caller = await begin("voice")
    await caller.next("input_audio_buffer.append")

    await page.click("#switch-mode")
    to_text = await caller.next("session.update")
    given_back = await page.evaluate("window.tracks[0].readyState")
    await page.click("#switch-mode")
    to_voice = [await caller.next("session.update"), await caller.next("session.update")]
    await caller.next("input_audio_buffer.append")

    assert to_text["session"] == {"type": "realtime", "output_modalities": ["text"]}
    assert given_back == "ended"
    assert [update["session"] for update in to_voice] == [
        {"type": "realtime", "output_modalities": ["audio"]},
        {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad"}}}},
    ]


async def test_a_reference_is_copied_or_said_not_to_be(page: Page, begin: Begin) -> None:
    button = page.locator("#copy-reference")
    clipboards = {
        "undefined": "Not copied",
        "{ writeText: async () => { throw new DOMException('No', 'NotAllowedError'); } }": "Not copied",
        "{ writeText: async (text) => { window.copied = text; } }": "Copied",
    }
    for clipboard, told in clipboards.items():
        change = f"{{configurable: true, value: {clipboard}}}"
        await page.evaluate(f"void Object.defineProperty(navigator, 'clipboard', {change})")
        caller: Caller = await begin("text")
        await caller.send({"type": "frontdesk.ended", "reason": "goodbye", "reference": "7K4Q"})
        await caller.close(1000)
        await status(page, "ended")
        await expect(button).to_have_text("Copy")
        await button.click()
        await expect(button).to_have_text(told)
        await page.click("#again")

    assert await page.evaluate("window.copied") == "7K4Q"
