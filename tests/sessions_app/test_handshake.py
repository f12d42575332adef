"""The handshake of a call, on real servers."""

from __future__ import annotations

from tests.servers import Server, ended_call, in_thread, live_agent


async def test_call_is_greeted(server: Server):
    agent = await in_thread(live_agent)

    async with server.upstream() as standin:
        async with server.call(agent) as caller:
            events = await caller.until("response.done")

        call = await ended_call(agent)

    assert events[0]["type"] == "session.created"
    assert call.end_reason == "caller"
    assert standin.received[0][0]["type"] == "session.update"
