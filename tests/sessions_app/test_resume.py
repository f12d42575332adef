"""A caller comes back to its call over real sockets, on both servers: with its token, once, and as the only one."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models.functions import Now
from websockets.exceptions import ConnectionClosed

from agents_app.models import Agent
from sessions_app import resuming
from sessions_app.models import CallSession, Event, Item, Place
from tests.faults.proxy import running_proxy
from tests.pages import Page, busy_practice
from tests.servers import ORIGIN, Server, ended_call, eventually, in_thread, new_key, running_server

RACERS, RACES = 10, 5  # on each server
STANDS_STILL_S = 2.0
GREETING = "Hello, this is the clinic. I am an automated assistant."


@pytest.fixture
def agent(transactional_db: None) -> Agent:
    return busy_practice()


def page_of(server: Server, agent: Agent, *, origin: str = ORIGIN, port: int | None = None) -> Page:
    url = server.url if port is None else f"ws://127.0.0.1:{port}/v1"
    return Page(f"{url}/realtime?model={agent.public_name}", origin=origin)


async def in_call(server: Server, agent: Agent, *, port: int | None = None) -> Page:
    """Return a page that has been greeted, and has its token."""
    page = page_of(server, agent, port=port)
    await page.call(await in_thread(lambda: new_key(agent)))
    assert await page.reply() == GREETING
    await page.kind("response.done") if not page.token else None
    return page


async def status_of_refusal(page: Page, token: str) -> int:
    with pytest.raises(PermissionError) as refused:
        await page.come_back(token)
    return int(refused.value.args[0])


async def test_page_that_lost_its_line_goes_on_with_the_same_call(server: Server, agent: Agent):
    async with server.upstream(speech=False) as standin:
        page = await in_call(server, agent)
        page.lose()

        await page.come_back()
        await page.types("What are your opening hours?")
        answer = await page.reply()
        await page.close()
        call = await ended_call(agent)

    kinds = [row async for row in Event.objects.filter(session=call, direction="own").values_list("type", flat=True)]
    assert "moment" in answer or "open" in answer
    assert (call.end_reason, call.epoch) == ("caller", 2)
    assert [kind for kind in kinds if kind.startswith("caller.")] == ["caller.lost", "caller.back"]
    assert len(standin.sessions) == 1
    assert page.token not in server.log()


async def test_token_that_is_not_good_is_refused_in_the_handshake(server: Server, agent: Agent):
    async with server.upstream(speech=False):
        page = await in_call(server, agent)
        old = page.token
        page.lose()
        await page.come_back()
        await page.kind("frontdesk.resume")
        await eventually(lambda: CallSession.objects.get(version__agent=agent).resume_spent, lambda spent: not spent)
        stranger = page_of(server, agent, origin="https://other.example")
        plain = page_of(server, agent)

        seen = {
            await status_of_refusal(plain, old),
            await status_of_refusal(plain, "nonsense"),
            await status_of_refusal(plain, f"{'0' * 32}.{'x' * 43}"),
            await status_of_refusal(stranger, page.token),
        }
        await page.types("What are your opening hours?")
        await page.reply()
        await page.close()
        await ended_call(agent)

    assert seen == {401 if server.kind == "uvicorn" else 403}


async def test_page_that_comes_back_to_an_ended_call_is_told_so_whatever_ended_it(server: Server, agent: Agent):
    told = []
    async with server.upstream(speech=False):
        page = await in_call(server, agent)
        await page.close()
        call = await ended_call(agent)
    for reason in CallSession.EndReason.values:
        await in_thread(lambda reason=reason: CallSession.objects.filter(pk=call.pk).update(end_reason=reason))  # type: ignore[misc]
        await page.come_back()
        error = await page.kind("error")
        assert await page.next() is None
        told.append((error["error"]["code"], page.close_code))

    assert set(told) == {("call_over", 4401)}


async def test_of_two_windows_the_last_has_the_call_and_the_other_is_told(server: Server, agent: Agent):
    async with server.upstream(speech=False) as standin:
        first = await in_call(server, agent)
        second = page_of(server, agent)

        await second.come_back(first.token)
        await second.kind("frontdesk.resume")
        with pytest.raises(ConnectionError):
            await first.kind("no such event")
        await second.types("What are your opening hours?")
        answer = await second.reply()
        await second.close()
        await ended_call(agent)

    assert (first.close_code, second.close_code) == (4409, None)
    assert answer
    assert len(standin.sessions) == 1


async def test_races_of_windows_leave_one_and_never_two_upstreams(server: Server, agent: Agent):
    """R18: 100 races over both servers."""
    async with server.upstream(speech=False) as standin:
        pages = [await in_call(server, agent) for _ in range(RACERS)]
        closed = await asyncio.gather(*(_races(server, agent, page) for page in pages))
        await eventually(lambda: CallSession.objects.exclude(state="ended").count(), lambda count: count == 0)

    assert {codes for some in closed for codes in some} <= {(0, 401), (0, 403), (0, 4409)}
    assert len(standin.sessions) == RACERS


async def _races(server: Server, agent: Agent, page: Page) -> list[tuple[int, ...]]:
    """Let two windows want the call at once, again and again. Return how they were closed; 0 is who has it."""
    closed = []
    for _ in range(RACES):
        page.lose()
        tabs = [page_of(server, agent), page_of(server, agent)]
        await asyncio.gather(*(_comes_back(tab, page.token) for tab in tabs))
        [winner] = [tab for tab in tabs if await _has_it(tab)]
        page = winner
        closed.append(tuple(sorted(tab.close_code or 0 for tab in tabs)))
    await page.close()
    return closed


async def _comes_back(tab: Page, token: str) -> None:
    """Come back with a token that another has too."""
    try:
        await tab.come_back(token)
        await tab.kind("frontdesk.resume")
    except PermissionError as refused:
        tab.close_code = refused.args[0]
    except ConnectionError:
        pass  # `close_code` says why


async def _has_it(tab: Page) -> bool:
    """Return whether the window has the call, now that both have tried."""
    if tab.close_code is not None:
        return False
    await tab.say("session.update", session={"type": "realtime"})
    try:
        await tab.kind("session.updated")
    except ConnectionError:
        return False
    return True


async def test_line_that_breaks_before_the_new_token_arrives_is_no_end(uvicorn: Server, agent: Agent):
    async with uvicorn.upstream(speech=False):
        page = await in_call(uvicorn, agent)
        for _ in range(3):
            page.lose()
            with contextlib.suppress(ConnectionClosed):
                await page.come_back()
            page.lose()  # its new token is on its way
        await page.come_back()
        await page.kind("frontdesk.resume")
        await page.close()
        call = await ended_call(agent)

    assert call.end_reason == "caller"


async def test_page_that_never_comes_back_gives_its_place_back(uvicorn: Server, agent: Agent):
    async with uvicorn.upstream(speech=False) as standin:
        page = await in_call(uvicorn, agent)
        page.lose()
        held = await eventually(
            lambda: CallSession.objects.get(version__agent=agent), lambda call: call.resume_until is not None
        )
        await in_thread(lambda: resuming.hold(page.token))
        again = await in_thread(lambda: CallSession.objects.get(pk=held.pk))
        taken = await in_thread(Place.objects.count)
        await page.come_back()
        await page.close()
        await ended_call(agent)
        left = await eventually(Place.objects.count, lambda count: count == 0)

    assert (taken, left, again.resume_until) == (1, 0, held.resume_until)
    assert len(standin.sessions) == 1


async def test_caller_on_a_line_that_stands_still_reads_later_how_the_call_ended(server: Server, agent: Agent):
    async with server.upstream(speech=False), running_proxy(server.port) as line:
        page = await in_call(server, agent, port=line.port)
        line.stall()
        await in_thread(CallSession.objects.ask_to_stop)
        await ended_call(agent)
        await asyncio.sleep(STANDS_STILL_S)  # the fault lasts this long
        line.resume()
        with pytest.raises(ConnectionError):
            await page.kind("no such event")

    assert page.close_code == 1000


async def test_caller_who_does_not_know_our_own_events_cannot_come_back(uvicorn: Server, agent: Agent):
    async with uvicorn.upstream(speech=False):
        async with uvicorn.call(agent) as client:
            await client.until("response.done")
            client.socket.transport.abort()
        call = await ended_call(agent)

    assert (call.end_reason, call.resume_digest) == ("abandoned", "")
    assert "frontdesk.resume" not in json.dumps(client.events)


async def test_caller_who_comes_back_to_another_process_is_told_to_try_again_and_finds_its_own(
    servers: Callable[[str], Server], agent: Agent
):
    mine, other = servers("uvicorn"), servers("daphne")
    async with mine.upstream(speech=False) as standin:
        page = await in_call(mine, agent)
        page.lose()
        elsewhere = page_of(other, agent)
        await elsewhere.come_back(page.token)
        error = (await elsewhere.kind("error"))["error"]
        assert await elsewhere.next() is None

        await page.come_back()
        await page.types("What are your opening hours?")
        answer = await page.reply()
        await page.close()
        call = await ended_call(agent)

    assert (error["code"], error["retry_after_ms"], elsewhere.close_code) == ("elsewhere", 250, 4013)
    assert answer
    assert (call.end_reason, call.epoch, len(standin.sessions)) == ("caller", 2, 1)


async def test_call_whose_process_was_killed_goes_on_in_another(
    servers: Callable[[str], Server], agent: Agent, tmp_path: Path
):
    other = servers("uvicorn")
    with running_server("uvicorn", tmp_path) as dying:
        async with dying.upstream(speech=False):
            page = await in_call(dying, agent)
            await page.types("What are your opening hours?")
            await page.until(lambda event: "hours" in page.said.get(event.get("item", {}).get("id"), ""))
            await page.types("Thank you")
            await page.reply()
            stored = Item.objects.filter(item_id__in=list(page.said)).exclude(text="")
            await eventually(stored.count, lambda count: count == len(page.said))
            dying.process.kill()
            while await page.next() is not None:
                pass
        mine = CallSession.objects.filter(version__agent=agent)
        async with other.upstream(speech=False) as standin:
            elsewhere = page_of(other, agent)
            elsewhere.token = page.token
            await elsewhere.come_back()
            too_soon = (await elsewhere.kind("error"))["error"]["code"]
            await in_thread(lambda: mine.update(lease_until=Now() - timedelta(seconds=1)))  # as after half a minute
            await elsewhere.come_back()
            await elsewhere.kind("frontdesk.resume")
            told = dict(elsewhere.said)
            await elsewhere.types("Where are you?")
            answer = await elsewhere.reply()
            await elsewhere.close()
            call = await ended_call(agent)
            left = await eventually(Place.objects.count, lambda count: count == 0)

    texts = [row async for row in Item.objects.filter(session=call, speaker="caller").values_list("text", flat=True)]
    seeded = [event["item"].get("id") for event in standin.received[0] if event["type"] == "conversation.item.create"]
    assert too_soon == "elsewhere"
    assert told.items() >= {item: words for item, words in page.said.items() if words}.items()
    assert set(page.said) <= set(seeded)
    assert answer
    assert answer != GREETING
    assert texts == ["What are your opening hours?", "Thank you", "Where are you?"]
    assert (call.end_reason, call.epoch, left) == ("caller", 2, 0)


async def test_windows_that_come_back_at_once_to_the_call_of_a_dead_process_find_one_call(
    servers: Callable[[str], Server], agent: Agent, tmp_path: Path
):
    other = servers("uvicorn")
    with running_server("uvicorn", tmp_path) as dying:
        async with dying.upstream(speech=False):
            page = await in_call(dying, agent)
            dying.process.kill()
            while await page.next() is not None:
                pass
        mine = CallSession.objects.filter(version__agent=agent)
        await in_thread(lambda: mine.update(lease_until=Now() - timedelta(seconds=1)))
        async with other.upstream(speech=False) as standin:
            tabs = [page_of(other, agent) for _ in range(RACERS)]
            await asyncio.gather(*(_comes_back(tab, page.token) for tab in tabs))
            [winner] = [tab for tab in tabs if await _has_it(tab)]
            await winner.close()
            call = await ended_call(agent)

    assert (call.end_reason, len(standin.sessions)) == ("caller", 1)


async def test_process_that_only_hung_lets_the_call_go_without_an_end(uvicorn: Server, agent: Agent):
    async with uvicorn.upstream(speech=False):
        page = await in_call(uvicorn, agent)
        mine = CallSession.objects.filter(version__agent=agent)
        await in_thread(lambda: mine.update(owner="elsewhere:1"))

        with pytest.raises(ConnectionError):
            await page.kind("no such event")
        call = await in_thread(mine.get)
        await in_thread(lambda: mine.update(state=CallSession.State.ENDED))

    assert page.close_code == 4409
    assert (call.state, call.end_reason, call.ended_at) == ("live", "", None)
