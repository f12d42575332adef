"""`manage.py serve`, as production runs it, on both servers: how it begins, and what it does not put up with."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from django.conf import settings
from websockets.asyncio.client import connect

from config import process_lock, serving, static_files
from tests.make import make_clinic
from tests.servers import (
    Server,
    collected_static,
    eventually,
    in_thread,
    live_agent,
    new_key,
)
from tests.serving import EXIT_S, ROOM, closed
from tests.sessions_app.standin.recording import Json

# The beginning.


def serve(directory: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {
        "DEBUG": "false", "DATA_DIR": str(directory), "SECRET_KEY": "k" * 50, "ALLOWED_HOSTS": "a.example",
        "DATA_KEYS": ",".join(settings.DATA_KEYS), "OPENAI_API_KEY": "sk-test", "DATABASE_URL": "", "REDIS_URL": "",
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-W", "ignore", "manage.py", "serve", *arguments],
        cwd=settings.BASE_DIR,
        env={**os.environ, **own, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_r47_second_process_without_redis_is_refused_in_one_line(tmp_path: Path):
    (tmp_path / "static").symlink_to(collected_static())

    with process_lock.take(tmp_path):
        refused = serve(tmp_path, "--port", "0")

    assert refused.returncode == 1
    assert refused.stderr == (
        f"Frontdesk cannot start: another server (process {os.getpid()}) runs on {tmp_path}. "
        "Several processes need REDIS_URL.\n"
    )


def test_r47_lock_is_free_again_when_its_holder_is_gone(tmp_path: Path):
    with process_lock.take(tmp_path), pytest.raises(process_lock.Taken):
        process_lock.take(tmp_path)

    process_lock.take(tmp_path).close()


def test_serve_refuses_files_that_were_not_collected(tmp_path: Path):
    refused = serve(tmp_path, "--port", "0")

    assert refused.returncode == 1
    assert refused.stderr == (
        "Frontdesk cannot start: The static files have not been collected. "
        "Run: python manage.py collectstatic --noinput\n"
    )


def test_files_collected_before_the_code_changed_are_refused(tmp_path: Path):
    manifest = tmp_path / "staticfiles.json"
    manifest.touch()
    fresh = static_files.trouble(tmp_path)
    os.utime(manifest, (0, 0))

    assert (fresh, static_files.trouble(tmp_path)) == ("", "The static files have changed since they were collected.")


def test_serve_refuses_a_port_that_is_taken(tmp_path: Path):
    (tmp_path / "static").symlink_to(collected_static())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = serve(tmp_path, "--port", str(port))

    assert refused.returncode == 1
    assert refused.stderr == f"Frontdesk cannot start: 127.0.0.1:{port} cannot be used: Address already in use.\n"


# While it runs.


def test_pages_ask_for_hashed_files_that_may_be_kept_for_ever(server: Server):
    agent = live_agent()

    page = server.get(f"/talk/{agent.public_name}/")[1]
    [script] = re.findall(r'src="(/static/sessions_app/talk\.[0-9a-f]{12}\.js)"', page)
    status, source = server.get(script)

    assert status == 200
    imports = re.findall(r'from "\./(.+?)"', source)
    assert imports != []
    assert [name for name in imports if not re.fullmatch(r"\w+\.[0-9a-f]{12}\.js", name)] == []


def test_nothing_of_the_data_directory_but_static_files_is_served(server: Server):
    (server.data_dir / "spool").mkdir(exist_ok=True)
    (server.data_dir / "spool" / "one.pcm").write_bytes(b"sound")

    answers = [server.get(path)[0] for path in ("/static/../spool/one.pcm", "/static/spool/one.pcm", "/spool/one.pcm")]

    assert answers == [404, 404, 404]


async def test_message_that_is_somewhat_too_large_is_answered_and_a_huge_one_ends_the_socket(server: Server):
    agent = await in_thread(live_agent)

    async with server.upstream(), server.call(agent) as caller:
        await caller.until("response.done")
        await caller.socket.send("x" * (100 * 1024))
        told = (await caller.until("error"))[-1]["error"]["code"]
        await caller.socket.send("x" * (serving.MAX_MESSAGE_BYTES + 1))
        _, code = await closed(caller)

    # Daphne drops the connection without a close frame.
    assert (told, code) == ("message_too_large", {"uvicorn": 1009, "daphne": 1006}[server.kind])


async def test_r34_of_many_starts_at_once_the_most_are_told_when_to_come_back_with_the_same_key(server: Server):
    agent = await in_thread(lambda: live_agent(make_clinic(**{name: 100 for name in ROOM})))
    keys = await in_thread(lambda: [new_key(agent) for _ in range(45)])
    begun = await asyncio.to_thread(server.figure, "frontdesk_calls_started_total")

    async def start_one(key: str) -> Json:
        async with server.call(agent, key=key) as caller:
            return await caller.next()

    async with server.upstream():
        first = await asyncio.gather(*(start_one(key) for key in keys))
        refused = [(key, event) for key, event in zip(keys, first, strict=True) if event["type"] == "error"]
        async with asyncio.timeout(EXIT_S):
            while (again := await start_one(refused[0][0]))["type"] == "error":
                pass
        begun = await asyncio.to_thread(server.figure, "frontdesk_calls_started_total") - begun
        await eventually(lambda: server.figure("frontdesk_calls_live"), lambda live: live == 0)

    assert {event["type"] for event in first} == {"session.created", "error"}
    assert {event["error"]["code"] for _, event in refused} == {"busy"}
    assert all(1000 <= event["error"]["retry_after_ms"] <= 4000 for _, event in refused)
    assert again["type"] == "session.created"
    assert begun == len(keys) - len(refused) + 1


@pytest.mark.parametrize("times", [50, pytest.param(1250, marks=[pytest.mark.soak, pytest.mark.timeout(900)])])
async def test_r46_connecting_and_leaving_leaves_no_file_and_no_task(server: Server, times: int):
    agent = await in_thread(lambda: live_agent(make_clinic(max_starts_per_hour=10_000)))

    def resting() -> tuple[float, ...]:
        names = ("frontdesk_sockets_open", "process_open_fds", "frontdesk_tasks")
        return tuple(server.figure(name) for name in names)

    async def come_and_go(times: int) -> None:
        for _ in range(times):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(
                f"GET /v1/realtime?model={agent.public_name} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Protocol: realtime\r\n\r\n".encode()
            )
            async with asyncio.timeout(EXIT_S):
                await reader.readline()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    await come_and_go(20)
    before = await eventually(resting, lambda found: found[0] == 0)
    await asyncio.gather(*(come_and_go(times) for _ in range(4)))
    await eventually(resting, lambda found: all(now <= then for now, then in zip(found, before, strict=True)))


# What a server may not do by itself.


async def test_t26_request_that_does_not_arrive_in_time_is_dropped_and_a_socket_is_none(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(serving, "REQUEST_S", 0.3)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": message["text"]})
        else:
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        config = uvicorn.Config(
            application, http=serving.BoundedHttp, ws="websockets-sansio", lifespan="off", log_config=None,
            access_log=False,
        )  # fmt: skip
        server = uvicorn.Server(config)
        running = asyncio.create_task(server._serve([listener]))
        async with connect(f"ws://127.0.0.1:{port}/") as caller:
            slow = ("", "GET / HTTP/1.1\r\nHost", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nbody")
            ends = await asyncio.gather(*(_talk(port, text) for text in slow))
            await caller.send("Still there?")
            heard = await caller.recv()
        answered = await _talk(port, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        server.should_exit = True
        await running

    assert ends[:2] == [b"", b""]
    assert heard == "Still there?"
    assert answered.startswith(b"HTTP/1.1 204")


async def _talk(port: int, text: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text.encode())
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
