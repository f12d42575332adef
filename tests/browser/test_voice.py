"""A call by voice on the talk page, in Chromium, with the browser's own fake microphone."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import Page

from tests.browser.conftest import done, reply, tone
from tests.browser.fake_server import Caller, FakeServer

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]
Begin = Callable[..., Any]

AUDIO = "input_audio_buffer.append"


async def test_a_tap_starts_a_call_whose_sound_arrives_in_frames_of_40_ms(
    page: Page, server: FakeServer, begin: Begin
) -> None:
    caller: Caller = await begin()

    frames = [base64.b64decode((await caller.next(AUDIO))["audio"]) for _ in range(30)]

    assert {len(frame) for frame in frames} == {1920}
    assert max(abs(sample) for frame in frames for (sample,) in struct.iter_unpack("<h", frame)) > 1000
    assert caller.subprotocols == ["realtime", "frontdesk", "openai-insecure-api-key.ek_1"]
    assert caller.query == "model=lexi"
