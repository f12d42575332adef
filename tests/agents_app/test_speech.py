from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from agents_app import speech
from agents_app.speech import MAX_SPEECH_BYTES, speak


@dataclass
class Service:
    """A speech endpoint on loopback: answers as told, and remembers what it was asked."""

    status: int = 200
    body: bytes = b"\1\0" * 100
    location: str = ""
    asked: list[tuple[str, str | None, dict[str, Any]]] = field(default_factory=list)


@pytest.fixture
def service(settings: Any) -> Iterator[Service]:
    told = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told.asked.append((self.path, self.headers["Authorization"], body))
            self.send_response(told.status)
            self.send_header("Content-Length", str(len(told.body)))
            if told.location:
                self.send_header("Location", told.location)
            self.end_headers()
            try:
                self.wfile.write(told.body)
            except ConnectionError:  # it had read enough
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            """The test's output is no place for requests."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        settings.OPENAI_BASE_URL = f"http://127.0.0.1:{server.server_port}/v1"
        settings.OPENAI_API_KEY = ""
        yield told
        server.shutdown()
        thread.join()


def test_line_is_asked_for_as_pcm_in_the_given_voice(service: Service):
    pcm = speak("Call 911 now.", voice="marin", key="sk-clinic")

    body = {"model": "gpt-4o-mini-tts", "input": "Call 911 now.", "voice": "marin", "response_format": "pcm"}
    assert pcm == service.body
    assert service.asked == [("/v1/audio/speech", "Bearer sk-clinic", body)]


@pytest.mark.parametrize(
    ("clinics", "installations", "sent"),
    [("sk-clinic", "sk-ours", "Bearer sk-clinic"), ("", "sk-ours", "Bearer sk-ours"), ("", "", "Bearer standin")],
)
def test_clinics_key_comes_before_the_installations(
    service: Service, settings: Any, clinics: str, installations: str, sent: str
):
    settings.OPENAI_API_KEY = installations

    speak("Goodbye.", voice="marin", key=clinics)

    assert [authorization for _, authorization, _ in service.asked] == [sent]


@pytest.mark.parametrize("body", [b"", b"\0\0\0", b"\0" * (MAX_SPEECH_BYTES + 2)])
def test_sound_that_is_empty_odd_or_too_long_is_none(service: Service, body: bytes):
    service.body = body

    assert speak("Goodbye.", voice="marin") is None


@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_refusal_is_none(service: Service, status: int):
    service.status = status

    assert speak("Goodbye.", voice="marin") is None


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_key_does_not_follow_a_redirect(service: Service, status: int):
    service.status, service.location = status, "/v1/elsewhere"

    assert speak("Goodbye.", voice="marin", key="sk-clinic") is None
    assert [path for path, _, _ in service.asked] == ["/v1/audio/speech"]


def test_service_that_is_away_is_none(settings: Any):
    settings.OPENAI_BASE_URL = "http://127.0.0.1:9/v1"

    assert speak("Goodbye.", voice="marin") is None


def test_service_that_does_not_answer_is_given_up(settings: Any, monkeypatch: pytest.MonkeyPatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as listening:  # accepts, and nobody serves
        settings.OPENAI_BASE_URL = f"http://127.0.0.1:{listening.server_port}/v1"
        # The real limit of ten seconds is too long for a test to wait.
        monkeypatch.setattr(speech, "SPEECH_TIMEOUT_S", 0.05)

        assert speak("Goodbye.", voice="marin") is None


def test_failure_logs_neither_the_line_nor_the_key(service: Service, caplog: pytest.LogCaptureFixture):
    service.status, service.body = 400, b"CANARY-answer"

    with caplog.at_level(logging.DEBUG):
        speak("CANARY-line", voice="CANARY-voice", key="CANARY-key")

    assert [record.getMessage() for record in caplog.records] == ["A fixed line could not be spoken"]
    assert "CANARY" not in str([vars(record) for record in caplog.records])
