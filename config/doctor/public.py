"""What a browser meets at the public address: certificate, readiness, the page with the microphone, the socket."""

from __future__ import annotations

import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.sync.client import connect

from agents_app.models import Agent, normal_origin
from config.doctor.findings import Finding, State, failed, ok, skipped, warning

TIMEOUT_S = 10.0
MAX_BODY_BYTES = 1024 * 1024
LIFE_LEFT = 0.25  # Caddy renews when a third of a certificate's life is left
SCRIPT = re.compile(r'<script[^>]+src="([^"]+)"')


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]  # names in lower case
    text: str


def default_url() -> str:
    """Return the public address that the settings tell of, or ""."""
    names = [host for host in settings.ALLOWED_HOSTS if host[:1] not in (".", "*", "[") and not _is_loopback(host)]
    return f"https://{names[0]}" if names else ""


def _is_loopback(host: str) -> bool:
    return host in ("127.0.0.1", "localhost", "::1")


def check_public(url: str) -> Iterator[Finding]:
    """Yield what is found at `url`, such as https://voice.example.com; SSL_CERT_FILE may name a CA of one's own."""
    if not url:
        yield skipped("page", "no public address: name it with --url https://...")
        return
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        yield failed("page", "--url takes an address such as https://voice.example.com")
        return
    try:
        if parts.scheme == "https":
            certificate = list(_check_certificate(parts.hostname, parts.port or 443))
            yield from certificate
            if any(finding.state is State.FAILED for finding in certificate):
                return  # nothing behind it can be reached
        yield from _check_ready(url)
        yield from _check_page(url)
        yield from _check_socket(url)
    except OSError as error:
        yield failed("server", f"{url} cannot be reached ({type(error).__name__}): does it run, is the port open?")


def _check_certificate(host: str, port: int) -> Iterator[Finding]:
    try:
        with (
            socket.create_connection((host, port), timeout=TIMEOUT_S) as plain,
            ssl.create_default_context().wrap_socket(plain, server_hostname=host) as wrapped,
        ):
            certificate = wrapped.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        yield failed("certificate", f"{error.verify_message}: browsers give no microphone. See the log of the proxy.")
        return
    ends, begins = (ssl.cert_time_to_seconds(str(certificate[name])) for name in ("notAfter", "notBefore"))
    left_s = ends - time.time()
    said = f"ends in {left_s / 86_400:.1f} days"
    if left_s < LIFE_LEFT * (ends - begins):
        yield warning("certificate", f"{said} and was not renewed: see the log of the proxy.")
    else:
        yield ok("certificate", said)
    if not settings.TRUSTED_PROXIES:
        yield warning("proxy", "TRUSTED_PROXIES is 0, so all callers count as one address: set it to 1.")


def _check_ready(url: str) -> Iterator[Finding]:
    answer = _get(f"{url}/readyz")
    if answer.status == 200:
        yield ok("server", "ready for calls")
    else:
        yield failed("server", f"not ready ({answer.status}): {' '.join(answer.text.split())[:200]}")


def _check_page(url: str) -> Iterator[Finding]:
    agent = Agent.objects.filter(live_version__isnull=False, paused=False).order_by("pk").first()
    if agent is None:
        yield skipped("page", "no receptionist is published yet")
        return
    answer = _get(f"{url}/talk/{agent.public_name}/")
    wrong = _wrong_with(answer, url)
    if wrong:
        yield failed("page", wrong)
        return
    found = SCRIPT.search(answer.text)
    script = _get(url + found[1]) if found else None
    if script is None or script.status != 200 or "javascript" not in script.headers.get("content-type", ""):
        yield failed("page", "its script is not served: run manage.py collectstatic.")
    elif not (settings.DEBUG or agent.clinic.allows_origin(normal_origin(url))):
        yield warning("page", f"{agent.clinic.name} does not list {url} among its web sites: no call can begin there.")
    else:
        yield ok("page", f"/talk/{agent.public_name}/ may ask for the microphone")


def _wrong_with(answer: Answer, url: str) -> str:
    """Return why a browser would give this page no microphone or no socket, or ""."""
    parts = urlsplit(url)
    if answer.status == 400:
        return "is not served under this name: add it to ALLOWED_HOSTS."
    if answer.status != 200:
        return f"answers {answer.status}: see the server's log."
    if parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
        return "is not served over https: browsers give it no microphone."
    if "microphone=(self)" not in answer.headers.get("permissions-policy", ""):
        return "forbids the microphone: does a proxy change the header Permissions-Policy?"
    sockets = f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}"
    if sockets not in answer.headers.get("content-security-policy", ""):
        return "forbids its own socket: does a proxy change the header Content-Security-Policy, or Host?"
    return ""


def _check_socket(url: str) -> Iterator[Finding]:
    """A socket without a key is refused by us, and so by nobody before us."""
    address = f"ws{url.removeprefix('http')}/v1/realtime?model=doctor"
    status = 101
    try:
        with connect(address, open_timeout=TIMEOUT_S, proxy=None):
            pass
    except InvalidStatus as refused:
        status = refused.response.status_code
    except InvalidHandshake:
        status = 0
    if status in (401, 403):
        yield ok("socket", "reaches us through whatever stands before us")
    else:
        yield failed("socket", f"answers {status or 'something else'}: the proxy must pass on WebSocket upgrades.")


def _get(url: str) -> Answer:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        response = opener.open(url, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as refused:
        response = refused
    with response:
        text = response.read(MAX_BODY_BYTES).decode("utf-8", "replace")
        return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, text)
