"""A real player asks for the parts of a long recording, seeks in it and plays it to the end."""

from __future__ import annotations

import random
import shutil
import uuid
from array import array
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Response, sync_playwright
from pytest_django.live_server_helper import LiveServer

from sessions_app.encoding import encode
from sessions_app.models import CallView
from sessions_app.views.recordings import MAX_PART_BYTES
from tests.make import make_user
from tests.sessions_app.test_recording_view import NAME, make_recording
from tests.spools import a_spool, finished

SECONDS = 300

# Seeks far ahead, then back, then to just before the end, and plays on from there.
PLAY = """
async (address) => {
  const audio = document.createElement("audio");
  const happens = (name) => new Promise((resolve, reject) => {
    audio.addEventListener(name, resolve, { once: true });
    audio.addEventListener("error", () => reject(new Error(audio.error.message)), { once: true });
  });
  const loaded = happens("loadedmetadata");
  audio.muted = true;
  audio.src = address;
  document.body.append(audio);
  await loaded;
  const reached = [];
  for (const second of [250, 20, audio.duration - 0.5]) {
    const seeked = happens("seeked");
    audio.currentTime = second;
    await seeked;
    reached.push(Math.round(audio.currentTime));
  }
  const ended = happens("ended");
  await audio.play();
  await ended;
  return { duration: audio.duration, reached, error: audio.error };
}
"""


def make_long_spool(directory: Path) -> Path:
    """Leave noise on both sides: it does not compress, so the file has several parts."""
    noise = array("h", random.Random(1).choices(range(-9000, 9000), k=24_000)).tobytes()
    spool = a_spool(uuid.uuid4(), directory)
    for second in range(SECONDS):
        spool.caller(noise, at_ms=second * 1000)
        spool.agent("item_1", noise, at_ms=second * 1000)
    path = finished(spool)
    assert path is not None
    return path


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_browser_seeks_in_a_long_recording_and_plays_it_to_the_end(
    live_server: LiveServer, settings: Any, tmp_path: Path
) -> None:
    settings.DATA_DIR = tmp_path
    (tmp_path / "recordings").mkdir()
    recording = make_recording(tmp_path)
    encoded = encode(make_long_spool(tmp_path), tmp_path / "recordings" / NAME)
    client = Client()
    client.force_login(make_user(recording.session.clinic))
    cookie = client.cookies[django_settings.SESSION_COOKIE_NAME].value
    sound: list[Response] = []

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"],
        )
        context = browser.new_context()
        context.add_cookies([{"name": django_settings.SESSION_COOKIE_NAME, "value": cookie, "url": live_server.url}])
        page = context.new_page()
        page.goto(f"{live_server.url}{reverse('login')}")
        page.on("response", lambda answer: sound.append(answer) if answer.url.endswith("/audio") else None)
        played = page.evaluate(PLAY, reverse("recording", args=[recording.session_id]))
        answers = [(answer.status, answer.headers["content-range"]) for answer in sound]
        browser.close()

    assert encoded.size_bytes > 2 * MAX_PART_BYTES
    assert played == {"duration": pytest.approx(SECONDS, abs=0.2), "reached": [250, 20, SECONDS], "error": None}
    assert {status for status, _ in answers} == {206}
    assert answers[0][1] == f"bytes 0-{MAX_PART_BYTES - 1}/{encoded.size_bytes}"
    assert CallView.objects.filter(door=CallView.Door.AUDIO).count() == 1
