"""The receptionist's own sound, fed back into the microphone: it interrupts nothing, and somebody louder still does.

What the guard lets through is heard by the stand-in's voice activity detection, with the preset as it is shipped.
"""

from __future__ import annotations

import asyncio
import base64
import math
from array import array
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page

from agents_app.session_config import TURN_DETECTION
from sessions_app.standin.vad import FRAME_BYTES, Detector
from sessions_app.standin.voice import Voice, best_voice
from tests.browser.conftest import done, reply
from tests.browser.fake_server import PATIENCE_S, Caller

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]
needs_flite = pytest.mark.skipif(best_voice().name != "flite", reason="flite is not installed: apt-get install flite")
Begin = Callable[..., Any]

LEVELS_DB = (0, -6, -12)
LOUDER_DB = 6
SPEAKS_AT_MS = 1500  # into the reply: later than the echo is learned
REPLIES = (
    "Barton Dental, this is Lexi, the automated assistant. How can I help you today?",
    "I have Tuesday the third of March at ten thirty in the morning with Doctor Adams. Would that work for you?",
    "We are open Monday to Thursday from eight to five, and on Friday from eight to two.",
    "I am sorry, I could not find you with that name and date of birth. Could you spell your last name for me?",
    "Let me read that back to you. A cleaning with Nora, on Monday the ninth, at nine fifteen. Is that right?",
    "Our office is at twelve Harbour Street in Springfield, right across from the library.",
    "You can pay with a card or with cash. We also take most insurance plans.",
    "Please bring your insurance card and come ten minutes early to fill in the form.",
    "The first opening is tomorrow at eleven. The next one is on Thursday at two in the afternoon.",
    "I can take a message for the dentist, and someone from the office will call you back today.",
)
INTERRUPTIONS = (
    "wait please i want to change that",
    "no i meant thursday morning",
    "sorry can i say something",
    "stop i have another question",
    "excuse me that is not right",
)
CI_REPLIES, SOAK_REPLIES = 2, 20

GUARDED = """async ({ mode, agent, speaker, gain, delayMs, noise }) => {
  const { BLOCK_SAMPLES } = await import("/static/sessions_app/echo_gate.js");
  const { EchoGuard } = await import("/static/sessions_app/echo_guard.js");
  const { decode, encode, toFloats, toPcm16 } = await import("/static/sessions_app/pcm.js");
  const played = toFloats(decode(agent));
  const said = speaker ? toFloats(decode(speaker)) : [];
  // A small room: the echo comes back more than once.
  const echoes = [[0, 1], [7, 0.5], [19, 0.35], [31, 0.25], [53, 0.18], [80, 0.13]];
  let seed = 1;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647 - 0.5;
  const heard = Float32Array.from(played, (_, i) => {
    let sum = noise * random() + (said[i] ?? 0);
    for (const [ms, share] of echoes) sum += gain * share * (played[i - (delayMs + ms) * 24] ?? 0);
    return sum;
  });
  const guard = new EchoGuard(mode);
  for (let at = 0; at + BLOCK_SAMPLES <= heard.length; at += BLOCK_SAMPLES) {
    guard.push(heard.subarray(at, at + BLOCK_SAMPLES), played.subarray(at, at + BLOCK_SAMPLES));
  }
  // In parts: a call takes only so many arguments.
  const parts = Array.from({ length: Math.ceil(heard.length / 2400) }, (_, i) => heard.slice(i * 2400, (i + 1) * 2400));
  return parts.map((part) => encode(toPcm16(part)));
}"""


@cache
def voice() -> Voice:
    return best_voice()


@cache
def speech(text: str, name: str) -> bytes:
    return voice()._sound(text, name, 1.0)


def a_reply(number: int) -> bytes:
    return speech(REPLIES[number % len(REPLIES)], ("slt", "rms")[number // len(REPLIES) % 2])


def an_interruption(number: int, *, level: float) -> bytes:
    """Somebody's words, with pauses left out of the reckoning, at `level`."""
    pcm = speech(INTERRUPTIONS[number % len(INTERRUPTIONS)], ("awb", "kal16", "rms")[number % 3])
    factor = level / speech_level(pcm)
    return array("h", (max(-32768, min(32767, round(sample * factor))) for sample in array("h", pcm))).tobytes()


def speech_level(pcm: bytes) -> float:
    """Return the level (RMS of 32768) of the 10 ms in which somebody speaks."""
    levels = [level for level in _levels(pcm) if level > 328]
    return math.sqrt(sum(level * level for level in levels) / len(levels))


def _levels(pcm: bytes) -> Iterator[float]:
    samples = array("h", pcm)
    for at in range(0, len(samples) - 240, 240):
        yield math.sqrt(sum(sample * sample for sample in samples[at : at + 240]) / 240)


def times(decibels: float) -> float:
    return float(10 ** (decibels / 20))


def speech_begins(pcm: bytes) -> int | None:
    """Return when the stand-in takes something in `pcm` for speech, in milliseconds, or None."""
    quiet = TURN_DETECTION["quiet"]
    assert quiet is not None
    detector = Detector(quiet)
    for at in range(0, len(pcm) - FRAME_BYTES, FRAME_BYTES):
        if detector.step(pcm[at : at + FRAME_BYTES]) == "started":
            return at // 48
    return None


@pytest.fixture
def guarded(modules: Page) -> Any:
    async def guarded(number: int, *, level_db: float, louder_db: float | None = None, mode: str = "guarded") -> bytes:
        """Return what the page would send while it plays a reply whose echo comes back at `level_db`."""
        agent = a_reply(number)
        said = b""
        if louder_db is not None:
            level = speech_level(agent) * times(level_db + louder_db)
            said = bytes(SPEAKS_AT_MS * 48) + an_interruption(number, level=level)
        parts = await modules.evaluate(
            GUARDED,
            {
                "mode": mode,
                "agent": base64.b64encode(agent).decode(),
                "speaker": base64.b64encode(said).decode(),
                "gain": times(level_db),
                "delayMs": (20, 120, 280)[number % 3],
                "noise": times(-60),
            },
        )
        return b"".join(map(base64.b64decode, parts))

    return guarded


async def outcomes(guarded: Any, replies: int, **how: Any) -> list[int | None]:
    return [speech_begins(await guarded(number, **how)) for number in range(replies)]


@needs_flite
async def test_without_the_guard_each_reply_interrupts_itself(guarded: Any) -> None:
    told = await outcomes(guarded, CI_REPLIES, level_db=-12, mode="off")

    assert None not in told


@needs_flite
@pytest.mark.parametrize("level_db", LEVELS_DB)
async def test_own_sound_interrupts_no_reply_and_somebody_louder_each(guarded: Any, level_db: int) -> None:
    own = await outcomes(guarded, CI_REPLIES, level_db=level_db)
    somebody = await outcomes(guarded, CI_REPLIES, level_db=level_db, louder_db=LOUDER_DB)

    assert own == [None] * CI_REPLIES
    assert all(begins is not None and begins > SPEAKS_AT_MS - 300 for begins in somebody), somebody


@pytest.mark.soak
@needs_flite
@pytest.mark.parametrize("level_db", LEVELS_DB)
async def test_own_sound_interrupts_none_of_twenty_and_somebody_louder_twenty(guarded: Any, level_db: int) -> None:
    own = await outcomes(guarded, SOAK_REPLIES, level_db=level_db)
    somebody = await outcomes(guarded, SOAK_REPLIES, level_db=level_db, louder_db=LOUDER_DB)

    assert own == [None] * SOAK_REPLIES
    assert all(begins is not None and begins > SPEAKS_AT_MS - 300 for begins in somebody), somebody


@needs_flite
async def test_half_duplex_lets_nobody_in_while_it_speaks(guarded: Any) -> None:
    somebody = await outcomes(guarded, CI_REPLIES, level_db=-12, louder_db=12, mode="half_duplex")

    assert somebody == [None] * CI_REPLIES


async def sent(caller: Caller) -> bytes:
    """Return the sound that the page has sent so far."""
    frames = [event["audio"] for event in caller.received if event["type"] == "input_audio_buffer.append"]
    return b"".join(map(base64.b64decode, frames))


async def heard_while_speaking(page: Page, caller: Caller, number: int, *, somebody: bytes = b"") -> bytes:
    """Let the page play a reply, and somebody speak into it; return what the page sent meanwhile."""
    pcm, item = a_reply(number), f"item_{number}"
    before = len(await sent(caller))
    await caller.send(*reply(item, "words", pcm, response=f"resp_{number}"))
    await caller.send(*done(item, "words", response=f"resp_{number}"))
    spoken = not somebody
    async with asyncio.timeout(PATIENCE_S + len(pcm) // 48000):
        while (event := await caller.next("frontdesk.playback"))["played_ms"] < len(pcm) // 48:
            if not spoken and event["played_ms"] >= SPEAKS_AT_MS:
                spoken = True
                await page.evaluate("(sound) => window.speak(sound)", base64.b64encode(somebody).decode())
    await page.wait_for_selector("body:not([data-status=speaking])")
    return (await sent(caller))[before:]


async def in_a_room(page: Page, begin: Begin, *, level_db: float) -> Caller:
    """Begin a call in a room from which the page's own sound comes back at `level_db`."""
    room = Path(__file__).with_name("echo.js").read_text()
    await page.evaluate(room, {"gain": times(level_db), "delayMs": 90})
    caller: Caller = await begin()
    return caller


@needs_flite
async def test_in_a_real_room_a_reply_is_interrupted_when_somebody_speaks_and_not_before(
    page: Page, begin: Begin
) -> None:
    caller = await in_a_room(page, begin, level_db=-6)
    said = an_interruption(0, level=speech_level(a_reply(0)) * times(-6 + LOUDER_DB))

    begins = speech_begins(await heard_while_speaking(page, caller, 0, somebody=said))

    assert begins is not None
    assert begins >= SPEAKS_AT_MS


@pytest.mark.soak
@needs_flite
@pytest.mark.timeout(900)
@pytest.mark.parametrize("level_db", LEVELS_DB)
async def test_own_sound_in_a_real_room_interrupts_none_of_twenty(page: Page, begin: Begin, level_db: int) -> None:
    caller = await in_a_room(page, begin, level_db=level_db)
    own, other = [], []
    for number in range(SOAK_REPLIES):
        own.append(speech_begins(await heard_while_speaking(page, caller, number)))
        level = speech_level(a_reply(number)) * times(level_db + LOUDER_DB)
        said = an_interruption(number, level=level)
        sound = await heard_while_speaking(page, caller, SOAK_REPLIES + number, somebody=said)
        other.append(speech_begins(sound) is not None)

    assert own == [None] * SOAK_REPLIES
    assert other == [True] * SOAK_REPLIES
