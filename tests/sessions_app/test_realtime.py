"""The upstream connection: what is tried again and what is not, in bounded time, and how its end is told."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import hashlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sessions_app.realtime import (
    CONNECT_S,
    MAX_FRAME_BYTES,
    MAX_RATE_TRIES,
    MAX_TRIES,
    RealtimeConnection,
    Upstream,
    UpstreamFailed,
    open_connection,
)
from sessions_app.standin.server import running_standin

KEY = "sk-CANARY"


class Door:
    """A server on loopback that answers every connection with the same bytes, and counts them."""

    def __init__(self, answer: bytes | None, *, drop: bool = False) -> None:
        self._answer, self._drop = answer, drop
        self.requests: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append(b"" if self._drop else await reader.readuntil(b"\r\n\r\n"))
            if self._answer is not None:
                writer.write(self._answer)
                await writer.drain()
            elif not self._drop:
                await reader.read()  # says nothing, until the other side has had enough
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            self.requests.append(b"")
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def door(answer: bytes | None, *, drop: bool = False, tls: ssl.SSLContext | None = None) -> AsyncIterator[Door]:
    opened = Door(answer, drop=drop)
    server = await asyncio.start_server(opened.serve, "127.0.0.1", 0, ssl=tls)
    opened.port = server.sockets[0].getsockname()[1]
    try:
        yield opened
    finally:
        server.close()
        await server.wait_closed()


def upstream(port: int, *, scheme: str = "http") -> Upstream:
    return Upstream(f"{scheme}://127.0.0.1:{port}/v1", "gpt-realtime-2.1", KEY)


def answer(status: str, body: bytes = b"", headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (status.encode(), len(body), headers, body)


async def failure(where: Upstream, *, within_s: float = 20.0) -> str:
    with pytest.raises(UpstreamFailed) as failed:
        await open_connection(where, within_s=within_s)
    assert str(failed.value) == failed.value.code
    return failed.value.code


REFUSED = b'{"error": {"message": "Incorrect API key provided: sk-CANARY"}}'


# what is answered to a handshake -> how the failure is named, and how often it is tried
HANDSHAKES = {
    answer("401 Unauthorized", REFUSED): ("upstream_401", 1),
    answer("403 Forbidden", REFUSED): ("upstream_403", 1),
    answer("404 Not Found", b"<html>"): ("upstream_404", 1),
    answer("200 OK", b"<html>Log in</html>", b"Content-Type: text/html\r\n"): ("upstream_200", 1),
    answer("429 Too Many Requests"): ("upstream_429", MAX_RATE_TRIES),
    answer("429 Too Many Requests", headers=b"Retry-After: 0\r\n"): ("upstream_429", MAX_RATE_TRIES),
    answer("429 Too Many Requests", headers=b"Retry-After: nan\r\n"): ("upstream_429", MAX_RATE_TRIES),
    answer("500 Internal Server Error"): ("upstream_500", MAX_TRIES),
    answer("502 Bad Gateway", b"<html>"): ("upstream_502", MAX_TRIES),
    answer("503 Service Unavailable"): ("upstream_503", MAX_TRIES),
    b"SSH-2.0-OpenSSH\r\n\r\n": ("upstream_unreachable", MAX_TRIES),
    b"": ("upstream_unreachable", MAX_TRIES),
    answer("101 Switching Protocols"): ("upstream_unreachable", MAX_TRIES),
}


async def test_refusal_is_tried_again_only_where_that_can_help():
    async def one(said: bytes) -> tuple[str, int]:
        async with door(said) as opened:
            return await failure(upstream(opened.port)), len(opened.requests)

    outcomes = await asyncio.gather(*map(one, HANDSHAKES))

    assert dict(zip(HANDSHAKES, outcomes, strict=True)) == HANDSHAKES


async def test_service_that_asks_for_more_time_than_a_caller_has_is_asked_once_by_all_calls_together():
    """R03: `Retry-After` holds for every call with this key at this address, and for no other key."""
    said = answer("429 Too Many Requests", headers=b"Retry-After: 3600\r\n")
    async with door(said) as opened:
        first = await failure(upstream(opened.port), within_s=CONNECT_S)
        again = await asyncio.gather(*(failure(upstream(opened.port), within_s=CONNECT_S) for _ in range(5)))
        asked = len(opened.requests)
        other = await failure(replace(upstream(opened.port), key="sk-another"), within_s=CONNECT_S)

    assert {first, *again, other} == {"upstream_429"}
    assert (asked, len(opened.requests)) == (1, 2)


async def test_closed_port_a_name_of_nobody_and_a_server_without_tls_are_unreachable():
    async with door(None) as opened:
        closed = upstream(opened.port)
    async with door(b"", drop=True) as plain:
        nobody = Upstream("http://nowhere.invalid/v1", "m", KEY)

        codes = await asyncio.gather(*map(failure, (closed, nobody, upstream(plain.port, scheme="https"))))

    assert codes == ["upstream_unreachable"] * 3


async def test_upstream_that_says_nothing_is_given_up_in_bounded_time():
    async with door(None) as opened:
        assert await failure(upstream(opened.port), within_s=0.3) == "upstream_unreachable"

    assert len(opened.requests) == 1


@pytest.mark.parametrize("base_url", ["http://[::1/v1", "http:///v1", "http://127.0.0.1:99999/v1", "http://a/v1#b"])
async def test_address_that_is_none_is_not_tried_again(base_url: str):
    assert await failure(Upstream(base_url, "m", KEY)) == "upstream_address"


async def test_key_is_not_carried_to_where_a_redirect_points():
    async with door(None) as elsewhere:
        there = b"Location: ws://127.0.0.1:%d/v1/realtime\r\n" % elsewhere.port
        async with door(answer("302 Found", b"", there)) as opened:
            code = await failure(upstream(opened.port), within_s=5.0)

    assert (code, elsewhere.requests) == ("upstream_302", [])


async def test_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(self_signed(tmp_path))

    async with door(b"", tls=tls) as opened:
        code = await failure(upstream(opened.port, scheme="https"))

    assert code == "upstream_certificate"
    assert KEY.encode() not in b"".join(opened.requests)


def self_signed(directory: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = directory / "server.pem"
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


async def test_handshake_carries_the_key_in_its_header_and_no_beta():
    async with door(answer("401 Unauthorized")) as opened:
        await failure(Upstream(f"http://127.0.0.1:{opened.port}/v1", "model/é?", KEY))

    head = opened.requests[0].decode().lower()
    assert head.startswith("get /v1/realtime?model=model%2f%c3%a9%3f http/1.1\r\n")
    assert f"authorization: bearer {KEY.lower()}" in head
    assert "openai-beta" not in head


def test_key_is_not_shown():
    assert "CANARY" not in repr(upstream(1))


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://api.openai.com/v1", "wss://api.openai.com/v1/realtime?model=m"),
        ("http://127.0.0.1:8765/v1", "ws://127.0.0.1:8765/v1/realtime?model=m"),
    ],
)
def test_address_of_the_socket_follows_the_base(base_url: str, url: str):
    assert Upstream(base_url, "m", KEY).url == url


async def frames(connection: RealtimeConnection) -> list[str | bytes]:
    async with asyncio.timeout(20):
        return [frame async for frame in connection.frames()]


@pytest.mark.parametrize("close_code", [1000, 1001, 1006, 1011])
async def test_end_of_the_connection_is_the_end_of_its_frames_with_its_code(close_code: int):
    async with running_standin(faults={"close_after_events": 1, "close_code": close_code}) as standin:
        connection = await open_connection(upstream(standin.port))
        heard = await frames(connection)
        with pytest.raises(UpstreamFailed) as failed:
            await connection.send("{}")
        await connection.close()

    assert len(heard) <= 1
    assert connection.lost_code == failed.value.code == f"upstream_closed_{close_code}"


async def test_refused_handshakes_are_lived_through_while_one_try_is_left():
    async with running_standin(faults={"refuse_handshake": 503, "refuse_count": 2}) as standin:
        connection = await open_connection(upstream(standin.port), within_s=20.0)
        await connection.close()

    assert len(standin.sessions) == 1


async def test_frame_past_the_bound_ends_the_connection():
    frame = b'"' + b"a" * MAX_FRAME_BYTES + b'"'
    head = b"\x81\x7f" + len(frame).to_bytes(8, "big")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        writer.write(upgraded(request) + head + frame)
        await reader.read(100)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    connection = await open_connection(upstream(server.sockets[0].getsockname()[1]))
    heard = await frames(connection)
    server.close()

    assert (heard, connection.lost_code) == ([], "upstream_oversized")


def upgraded(request: str) -> bytes:
    """Return the answer that accepts a WebSocket handshake."""
    key = next(line.split(": ")[1] for line in request.split("\r\n") if line.lower().startswith("sec-websocket-key"))
    accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
    lines = (b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade")
    return b"\r\n".join((*lines, b"Sec-WebSocket-Accept: " + accept)) + b"\r\n\r\n"
