"""`manage.py serve`, as production runs it, on both servers: how it begins, what it tells of itself, how it ends."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from django.conf import settings
from django.db import connection
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from agents_app.models import Agent
from config import process_lock, serving, static_files
from config.operations import may_read_figures
from sessions_app.models import CallSession
from tests.faults.proxy import running_proxy
from tests.make import make_clinic
from tests.servers import (
    KINDS,
    Server,
    collected_static,
    database_url,
    ended_call,
    eventually,
    in_thread,
    live_agent,
    new_key,
    running_server,
)
from tests.sessions_app.standin.recording import Json, RecordingClient

EXIT_S = 15.0
ROOM = ("max_concurrent_calls", "max_calls_per_address", "max_calls_per_network")
CLOSED = {"uvicorn": {1012: 1012, 1013: 1013}, "daphne": {1012: 4012, 1013: 4013}}  # Daphne cannot spell these

Start = Callable[..., Server]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start(kind: str, transactional_db: None, tmp_path: Path) -> Iterator[Start]:
    """Start a server that this test may end."""
    begun = []

    def start_one(**environment: str) -> Server:
        running = running_server(kind, tmp_path, **environment)
        begun.append(running)
        return running.__enter__()

    yield start_one
    for running in begun:
        running.__exit__(None, None, None)


async def closed(caller: RecordingClient) -> tuple[list[Json], int]:
    """Read to the end; return what was told, and the close code."""
    try:
        while True:
            await caller.next()
    except ConnectionClosed as end:
        return caller.events, end.rcvd.code if end.rcvd is not None else 1006


async def readiness(server: Server) -> tuple[int, Json]:
    status, text = await asyncio.to_thread(server.get, "/readyz")
    return status, json.loads(text)


async def exit_code(server: Server) -> int:
    return await asyncio.to_thread(server.process.wait, EXIT_S)


def states(agent: Agent) -> list[tuple[str, str]]:
    return list(CallSession.objects.filter(version__agent=agent).values_list("state", "end_reason"))


# The end.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_r24_drain_refuses_new_calls_lets_live_ones_end_and_leaves_with_0(start: Start, number: signal.Signals):
    server = start()
    agent = await in_thread(live_agent)

    async with server.upstream():
        async with server.call(agent) as caller:
            await caller.until("response.done")
            assert await readiness(server) == (200, {"ready": True, "failing": []})
            server.process.send_signal(number)
            async with asyncio.timeout(1.0):
                while (await readiness(server))[0] == 200:
                    pass
            draining = await readiness(server)
            async with server.call(agent) as second:
                refused = await closed(second)
            await caller.say("Are you still there?")
            await caller.send("response.create")
            await caller.until("response.done")
            still_running = server.process.poll() is None
        code = await exit_code(server)

    assert draining == (503, {"ready": False, "failing": ["draining"]})
    [event], close_code = refused
    assert (event["type"], event["error"]["code"], close_code) == (
        "error", "restarting", CLOSED[server.kind][1013],
    )  # fmt: skip
    assert 500 <= event["error"]["retry_after_ms"] <= 4000
    assert still_running
    assert code == 0
    assert await in_thread(lambda: states(agent)) == [("ended", "caller")]


@pytest.mark.parametrize(
    ("callers", "limit_s"), [(5, 1), pytest.param(50, 10, marks=[pytest.mark.soak, pytest.mark.timeout(300)])]
)
async def test_r24_calls_that_do_not_end_are_ended_at_the_limit(start: Start, callers: int, limit_s: int):
    server = start(DRAIN_SECONDS=str(limit_s))
    agent = await in_thread(lambda: live_agent(make_clinic(**{name: callers for name in ROOM})))

    async with server.upstream(), contextlib.AsyncExitStack() as stack:
        calls = []
        for _ in range(callers):
            calls.append(await stack.enter_async_context(server.call(agent)))
            await calls[-1].until("response.done")
            await calls[-1].send("input_audio_buffer.append", audio=base64.b64encode(bytes(4800)).decode())
        server.process.terminate()
        began = time.monotonic()
        ends = await asyncio.gather(*(closed(caller) for caller in calls))
        code = await exit_code(server)
        took = time.monotonic() - began

    assert [end[1] for end in ends] == [CLOSED[server.kind][1012]] * callers
    assert code == 0
    assert took < limit_s + EXIT_S
    assert set(await in_thread(lambda: states(agent))) == {("ended", "interrupted")}


async def test_r24_each_call_hears_a_goodbye_before_the_limit(start: Start):
    server = start(DRAIN_SECONDS="25")
    agent = await in_thread(lambda: live_agent(goodbye="Thank you for calling."))

    async with server.upstream(), server.call(agent) as caller:
        await caller.until("response.done")
        server.process.terminate()
        events, close_code = await closed(caller)
        code = await exit_code(server)

    words = [event["transcript"] for event in events if event["type"] == "response.output_audio_transcript.done"]
    assert "Thank you for calling." in words[-1]
    assert (close_code, code) == (CLOSED[server.kind][1012], 0)
    assert await in_thread(lambda: states(agent)) == [("ended", "interrupted")]


async def test_r24_second_signal_ends_the_calls_at_once(start: Start):
    server = start(DRAIN_SECONDS="600")
    agent = await in_thread(live_agent)

    async with server.upstream(), server.call(agent) as caller:
        await caller.until("response.done")
        server.process.terminate()
        async with asyncio.timeout(EXIT_S):
            while (await readiness(server))[0] == 200:
                pass
        server.process.terminate()
        _, close_code = await closed(caller)
        code = await exit_code(server)

    assert (close_code, code) == (CLOSED[server.kind][1012], 0)
    assert await in_thread(lambda: states(agent)) == [("ended", "interrupted")]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite is no server that could freeze")
async def test_r24_process_ends_though_the_database_is_frozen_and_the_next_one_stores_the_end(start: Start):
    port = int(connection.settings_dict["PORT"] or 5432)
    agent = await in_thread(live_agent)

    async with running_proxy(port) as proxy:
        server = start(DRAIN_SECONDS="1", DATABASE_URL=database_url().replace(f":{port}/", f":{proxy.port}/"))
        async with server.upstream(), server.call(agent) as caller:
            await caller.until("response.done")
            await eventually(lambda: states(agent), lambda found: found == [("live", "")])
            proxy.to_client.stall()
            server.process.terminate()
            _, close_code = await closed(caller)
            code = await asyncio.to_thread(server.process.wait, 60)
        before = await in_thread(lambda: states(agent))
    start()
    after = await eventually(lambda: states(agent), lambda found: found[0][0] == "ended")

    assert (close_code, code) == (CLOSED[server.kind][1012], 0)
    assert (before, after) == ([("live", "")], [("ended", "interrupted")])


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


def test_health_is_answered_to_whoever_asks_by_whatever_name(server: Server):
    assert server.get("/healthz", Host="10.0.0.7:8000") == (200, "alive\n")
    status, text = server.get("/readyz", Host="10.0.0.7:8000")
    assert (status, json.loads(text)) == (200, {"ready": True, "failing": []})


async def test_readiness_names_the_parts_that_do_not_answer(start: Start, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    server = start(REDIS_URL=f"redis://127.0.0.1:{port}/0", DATABASE_URL=f"sqlite:///{tmp_path / 'empty.sqlite3'}")

    assert await readiness(server) == (503, {"ready": False, "failing": ["database", "redis"]})
    assert await asyncio.to_thread(server.get, "/healthz") == (200, "alive\n")


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite is no server that could freeze")
async def test_frozen_database_is_named_within_the_probes_time_and_forgiven_when_it_thaws(start: Start):
    port = int(connection.settings_dict["PORT"] or 5432)
    async with running_proxy(port) as proxy:
        server = start(DATABASE_URL=database_url().replace(f":{port}/", f":{proxy.port}/"))
        before = await readiness(server)
        proxy.to_client.stall()
        async with asyncio.timeout(EXIT_S):
            while (frozen := await readiness(server))[0] == 200:
                pass
        alive = await asyncio.to_thread(server.get, "/healthz")
        proxy.to_client.resume()
        async with asyncio.timeout(EXIT_S):
            while (after := await readiness(server))[0] != 200:
                pass

    assert (before[0], alive[0], after[0]) == (200, 200, 200)
    assert frozen[1]["failing"] == ["database"]


def test_figures_are_for_this_machine_and_not_for_a_proxy_on_it(server: Server):
    assert server.get("/metrics")[0] == 200
    assert server.get("/metrics", **{"X-Forwarded-For": "127.0.0.1"})[0] == 403


@pytest.mark.parametrize(
    ("headers", "peer", "may"),
    [
        ({}, "127.0.0.1", False),
        ({b"authorization": b"Bearer wrong"}, "127.0.0.1", False),
        ({b"authorization": b"Bearer t0ken"}, "203.0.113.7", True),
    ],
)
def test_with_a_token_figures_are_for_its_holders(settings: Any, headers: dict[bytes, bytes], peer: str, may: bool):
    settings.METRICS_TOKEN = "t0ken"

    assert may_read_figures(headers, peer) is may


@pytest.mark.parametrize(("peer", "may"), [("::1", True), ("203.0.113.7", False), ("", False)])
def test_without_a_token_figures_are_for_this_machine(peer: str, may: bool):
    assert may_read_figures({}, peer) is may


async def test_call_is_counted_and_no_label_holds_an_id(server: Server):
    agent = await in_thread(lambda: live_agent(tools=["get_datetime"]))
    name = 'frontdesk_calls_ended_total{reason="caller"}'
    tool = 'frontdesk_tool_calls_total{status="ok",tool="get_datetime"}'
    before = [await asyncio.to_thread(server.figure, one) for one in (name, tool)]

    async with server.upstream() as standin:
        standin.set_faults(script=[{"say": "Hello."}, {"say": "One moment.", "call": [["get_datetime", {}]]}])
        async with server.call(agent) as caller:
            await caller.until("response.done")
            live = await asyncio.to_thread(server.figure, "frontdesk_calls_live")
            await caller.say("What day is it?")
            await caller.send("response.create")
            await caller.until("response.done")
            await caller.until("response.done")
        call = await ended_call(agent)
    figures = (await asyncio.to_thread(server.get, "/metrics"))[1]

    assert live >= 1
    assert [await asyncio.to_thread(server.figure, one) for one in (name, tool)] == [one + 1 for one in before]
    assert str(call.pk) not in figures
    assert agent.public_name not in figures
    assert await asyncio.to_thread(server.figure, 'frontdesk_audio_seconds_total{speaker="agent"}') > 0


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
