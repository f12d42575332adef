"""A fixed line as sound: one request to the speech endpoint beside the Realtime API.

Owns that request and its bounds. Knows nothing of versions or calls, and never logs what it was asked to say.
"""

from __future__ import annotations

import json
import logging
import urllib.request
from typing import Any

from django.conf import settings

from agents_app.models import VoiceService, key_headers

logger = logging.getLogger(__name__)

SPEECH_MODEL = "gpt-4o-mini-tts"  # speaks with the voices of the Realtime API, marin and cedar among them
SPEECH_TIMEOUT_S = 10.0
BYTES_PER_SECOND = 48_000  # PCM16, mono, 24 kHz
MAX_SPEECH_BYTES = 60 * BYTES_PER_SECOND  # a line has at most 300 characters: about 25 s
STANDIN_KEY = "standin"  # the stand-in wants a key and looks at none


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """The key is for the host of the settings: a redirect would carry it to another."""


_opener = urllib.request.build_opener(_NoRedirect)


def speak(text: str, *, voice: str, key: str = "", service: VoiceService | None = None) -> bytes | None:
    """Return `text` spoken, as PCM16 mono 24 kHz, or None when there was no sound to be had.

    `key` is the clinic's own; without one, the installation's serves, but never at another `service`.
    """
    try:
        request = _request(text, voice=voice, key=key, service=service)
        with _opener.open(request, timeout=SPEECH_TIMEOUT_S) as response:
            pcm: bytes = response.read(MAX_SPEECH_BYTES + 1)
    except (OSError, ValueError) as error:  # URLError, HTTPError and timeouts are OSErrors
        logger.warning("A fixed line could not be spoken", extra={"error": type(error).__name__})
        return None
    if not pcm or len(pcm) % 2 or len(pcm) > MAX_SPEECH_BYTES:
        logger.warning("The speech of a fixed line was not PCM of a sensible length", extra={"bytes": len(pcm)})
        return None
    return pcm


def _request(text: str, *, voice: str, key: str, service: VoiceService | None) -> urllib.request.Request:
    if service is None:
        base_url, style = settings.OPENAI_BASE_URL, VoiceService.KeyStyle.BEARER
        key = key or settings.OPENAI_API_KEY or STANDIN_KEY
    else:
        base_url, style = service.base_url, VoiceService.KeyStyle(service.key_style)
    if not key:
        raise ValueError("Expected a key of the clinic's own for its service, but got none")
    body = {"model": SPEECH_MODEL, "input": text, "voice": voice, "response_format": "pcm"}
    return urllib.request.Request(  # settings.py and the service's row let http and https through, nothing else
        f"{base_url}/audio/speech",
        data=json.dumps(body).encode(),
        headers={**key_headers(key, style), "Content-Type": "application/json"},
        method="POST",
    )
