"""The whole path, as its people walk it: a patient talks in a real browser, and a reviewer reads and hears the call.

A real server and the real stand-in, each a process; real speech, made by flite and heard by the stand-in. What is said
waits for the page to listen, so a slow machine is only slow.
"""

from __future__ import annotations

import base64
import contextlib
import shutil
import subprocess
import sys
import wave
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import pytest_asyncio
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from playwright.async_api import Page, async_playwright

from agents_app.models import Agent, Guardrail, Membership
from agents_app.practice.models import Appointment
from agents_app.publishing import publish
from agents_app.tools import registered_tools
from sessions_app.models import CallSession, CallView, Event, Item, Recording
from tests.browser.conftest import CHROMIUM, FLAGS
from tests.make import make_agent, make_user
from tests.make_practice import make_patient, make_practice
from tests.servers import Server, ended_call, eventually, in_thread, running_server, running_speech_standin

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.browser,
    pytest.mark.speech,
    pytest.mark.timeout(600),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"),
    pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed: apt-get install flite"),
]

PATIENCE_MS = 60_000
TRIES = 3  # a person says it again, too

# A microphone that a test speaks into: what is spoken is played into the stream that the page is given.
MICROPHONE = """
  const device = new AudioContext({sampleRate: 48000});
  const line = device.createMediaStreamDestination();
  const hum = new ConstantSourceNode(device, {offset: 0}); hum.connect(line); hum.start();
  navigator.mediaDevices.getUserMedia = async () => { await device.resume(); return line.stream; };
  window.speakInto = async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
    const source = new AudioBufferSourceNode(device, {buffer: await device.decodeAudioData(bytes.buffer)});
    source.connect(line);
    source.start();
    await new Promise((ended) => { source.onended = ended; });
  };
"""


def said(text: str, directory: Path) -> bytes:
    """Return a WAV of `text` in a voice that the stand-in has never used."""
    path = directory / "said.wav"
    subprocess.run(["flite", "-voice", "rms", "-t", text, "-o", str(path)], check=True, timeout=30)
    return path.read_bytes()


@pytest.fixture(scope="module")
def place(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server as `make run` has it, with a stand-in that hears and speaks."""
    with running_speech_standin(tmp_path_factory.mktemp("standin")) as standin_url:
        settings_of_it = {"DEBUG": "true", "OPENAI_BASE_URL": standin_url}
        with running_server("daphne", tmp_path_factory.mktemp("daphne"), **settings_of_it) as server:
            yield server


@pytest_asyncio.fixture
async def agent(place: Server, transactional_db: None) -> Agent:
    def make() -> Agent:
        practice = make_practice(recording_enabled=True, recording_notice="Sound and words are kept.")
        make_patient(practice.clinic, first_name="James", last_name="Carter", date_of_birth="1962-07-02")
        agent = make_agent(practice.clinic, public_name="lexi", name="Lexi", tools=list(registered_tools()))
        Guardrail.objects.create(agent=agent, name="Emergency", phrases="chest pain", line="Please call 911 now.")
        with overridden_base_url(place.base_url):
            publish(agent, None)
        make_user(practice.clinic, username="reviewer", role=Membership.Role.REVIEWER)
        return agent

    return await in_thread(make)


@contextlib.contextmanager
def overridden_base_url(url: str) -> Iterator[None]:
    before, settings.OPENAI_BASE_URL = settings.OPENAI_BASE_URL, url
    try:
        yield
    finally:
        settings.OPENAI_BASE_URL = before


@contextlib.asynccontextmanager
async def browser_page(*flags: str, microphone: bool = True) -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])
        page = await browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(PATIENCE_MS)
        if microphone:
            await page.add_init_script(MICROPHONE)
        yield page
        await browser.close()


class Patient:
    def __init__(self, page: Page, directory: Path) -> None:
        self.page, self._directory = page, directory

    async def listens(self) -> None:
        await self.page.wait_for_selector("body[data-status=listening]")

    async def hears(self, words: str) -> None:
        """Wait until the receptionist has said these words."""
        script = "words => [...document.querySelectorAll('#captions li')].some(li => li.textContent.includes(words))"
        await self.page.wait_for_function(script, arg=words)

    async def says(self, text: str, *, until: str, over: bool = False) -> None:
        """Say something, again if it was misheard, until the receptionist answers with these words."""
        wav = base64.b64encode(said(text, self._directory)).decode()
        for attempt in range(TRIES):
            if not over:
                await self.listens()
            await self.page.evaluate("wav => speakInto(wav)", wav)
            with contextlib.suppress(Exception) if attempt < TRIES - 1 else contextlib.nullcontext():
                self.page.set_default_timeout(PATIENCE_MS / 2)
                await self.hears(until)
                return


def encode_recordings(place: Server) -> None:
    """Do the waiting jobs, as the worker process does."""
    command = [sys.executable, "manage.py", "db_worker", "--no-reload", "--batch", "--interval", "0"]
    subprocess.run(command, cwd=settings.BASE_DIR, env=place.environment, check=True, timeout=120)


def channel_energy(path: Path) -> np.ndarray[Any, Any]:
    """Return the loudness of each tenth of a second, a row for each channel."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
        rate = container.streams.audio[0].rate
    sound = np.concatenate(frames, axis=1)
    window = rate // 10
    whole = sound[:, : sound.shape[1] // window * window]
    loudness: np.ndarray[Any, Any] = np.sqrt((whole.reshape(2, -1, window) ** 2).mean(axis=2))
    return loudness


async def test_patient_books_by_voice_and_staff_read_and_hear_it(place: Server, agent: Agent, tmp_path: Path):
    async with browser_page() as page:
        patient = Patient(page, tmp_path)
        await page.goto(f"{place.origin}/talk/lexi/")
        await page.click("#start-voice")
        await patient.hears("I am an automated assistant.")
        await patient.says("I would like to book a cleaning", until="first name")
        await patient.says("james carter", until="date of birth")
        await patient.says("july second nineteen sixty two", until="Which one would you like?")
        await patient.says("the second one", until="Shall I go ahead?", over=True)  # into the list of free times
        await page.wait_for_selector("#recap:not([hidden])")
        await patient.says("yes please", until="You are booked")
        await patient.listens()
        await page.click("#end")
    call = await ended_call(agent)
    await in_thread(lambda: encode_recordings(place))
    recording = await eventually(
        lambda: Recording.objects.get(session=call), lambda row: row.status != Recording.Status.WAITING
    )

    appointment = await in_thread(Appointment.objects.select_related("patient").get)
    items = await in_thread(lambda: list(Item.objects.filter(session=call)))
    cut = [item for item in items if item.interrupted]
    energy = channel_energy(place.data_dir / "recordings" / recording.file_name)
    assert (appointment.patient.last_name, appointment.booked_by_call) == ("Carter", call.pk)
    assert (call.outcome, call.end_reason, call.recording_kept) == ("booked", "caller", True)
    assert {"i would like to book a cleaning", "yes please"} <= {item.text.lower().strip(".") for item in items}
    assert len(cut) >= 1
    heard = [(item.heard_chars, len(item.text)) for item in cut]
    assert [one for one in heard if one[0] is None or one[0] >= one[1]] == []
    assert recording.duration_ms is not None
    assert call.duration_ms is not None
    assert abs(recording.duration_ms - call.duration_ms) < 5000
    assert all((channel > 0.01).sum() > 10 for channel in energy)  # a second of each voice, at the least
    await staff_read_it(place, call, [part for item in items for part in (item.heard_text, item.unheard_text)])


def reviewers_session() -> str:
    """Log the reviewer in. Not by its password: this process hashes cheaply, and the server would not know it."""
    client = Client()
    client.force_login(User.objects.get(username="reviewer"))
    return client.cookies["sessionid"].value


async def staff_read_it(place: Server, call: CallSession, lines: list[str]) -> None:
    async with browser_page(microphone=False) as page:
        session_key = await in_thread(reviewers_session)
        await page.context.add_cookies([{"name": "sessionid", "value": session_key, "url": place.origin}])
        await page.goto(f"{place.origin}/calls/{call.pk}/")
        shown = await page.inner_text("main")
        await page.wait_for_function("() => document.querySelector('audio').duration > 1")
        await page.evaluate("() => document.querySelector('audio').play()")
        await page.wait_for_function("() => document.querySelector('audio').currentTime > 0.3")
    doors = await in_thread(lambda: set(CallView.objects.filter(session=call).values_list("door", flat=True)))
    assert [line for line in lines if "".join(line.split()) not in "".join(shown.split())] == []
    assert doors == {"page", "audio"}


async def test_emergency_spoken_into_the_microphone_shows_the_number(place: Server, agent: Agent, tmp_path: Path):
    path = tmp_path / "microphone.wav"
    padded_wav(said("I have chest pain", tmp_path), path, before_s=7, after_s=1)

    async with browser_page(f"--use-file-for-fake-audio-capture={path}%noloop", microphone=False) as page:
        await page.goto(f"{place.origin}/talk/lexi/")
        await page.click("#start-voice")
        await page.wait_for_selector("#emergency:not([hidden])")
        line, number = await page.inner_text("#emergency-line"), await page.get_attribute("#emergency-number", "href")
        await Patient(page, tmp_path).hears("Please call 911 now.")
        await page.click("#end")
    call = await ended_call(agent)

    tripped = await in_thread(lambda: Event.objects.filter(session=call, type="guardrail.tripped").count())
    assert (line, number) == ("Please call 911 now.", "tel:911")
    assert (call.outcome, tripped) == ("emergency", 1)
    assert await in_thread(Appointment.objects.count) == 0


def padded_wav(source: bytes, path: Path, *, before_s: float, after_s: float) -> None:
    """Write the sound at 48 kHz, which Chromium's fake microphone plays as it is, with silence around it."""
    raw = path.with_suffix(".raw.wav")
    raw.write_bytes(source)
    with wave.open(str(raw)) as sound:
        rate, samples = sound.getframerate(), np.frombuffer(sound.readframes(sound.getnframes()), dtype=np.int16)
    at = np.arange(len(samples) * 48_000 // rate) * rate / 48_000
    resampled = np.interp(at, np.arange(len(samples)), samples).astype(np.int16)
    silence = [np.zeros(int(48_000 * seconds), np.int16) for seconds in (before_s, after_s)]
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(48_000)
        sound.writeframes(np.concatenate([silence[0], resampled, silence[1]]).tobytes())


async def test_patient_books_by_text_and_keyboard_alone(place: Server, agent: Agent, tmp_path: Path):
    async with browser_page(microphone=False) as page:
        patient = Patient(page, tmp_path)
        await page.goto(f"{place.origin}/talk/lexi/")
        await tab_to(page, "start-text")
        await page.keyboard.press("Enter")
        await patient.hears("I am an automated assistant.")
        for text, answer in (
            ("I would like to book a cleaning", "first name"),
            ("James Carter", "date of birth"),
            ("July 2nd 1962", "Which one would you like?"),
            ("the second one", "Shall I go ahead?"),
        ):
            await tab_to(page, "message")
            await page.keyboard.type(text)
            await page.keyboard.press("Enter")
            await patient.hears(answer)
        await tab_to(page, "recap-yes")
        await page.keyboard.press("Enter")
        await patient.hears("You are booked")
        await tab_to(page, "end")
        await page.keyboard.press("Enter")
    call = await ended_call(agent)

    appointment = await in_thread(Appointment.objects.get)
    confirmed = await in_thread(lambda: call.tool_calls.get(name="book_appointment", status="ok").confirmed_by)
    assert (appointment.booked_by_call, confirmed) == (call.pk, "button")
    assert (call.outcome, call.counters.get("from_caller:input_audio_buffer.append")) == ("booked", None)


async def tab_to(page: Page, element_id: str) -> None:
    """Press Tab until the element has the focus, as somebody without a mouse does."""
    for _press in range(40):
        if await page.evaluate("document.activeElement.id") == element_id:
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"Tab never reaches {element_id}")
