"""The fault knobs, at the start and while the stand-in runs."""

from __future__ import annotations

import json

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from sessions_app.standin.faults import Faults, parse_fault
from sessions_app.standin.server import running_standin
from tests.sessions_app.standin.recording import client_of, function, kinds, said

KNOCK = function("knock", "Knock at the door.")


@pytest.mark.parametrize(("code", "seen"), [(1011, 1011), (4000, 4000), (1006, 1006)])
async def test_socket_closes_with_the_code_after_so_many_events(code: int, seen: int):
    faults = {"close_after_events": 3, "close_code": code, "close_count": 1}
    async with running_standin(faults=faults) as standin:
        async with client_of(standin) as client:
            await client.send("response.create")
            with pytest.raises(ConnectionClosed):
                await client.until("response.done")
            assert (len(client.events), client.socket.close_code) == (3, seen)
        async with client_of(standin) as client:
            assert "response.done" in kinds(await client.answer())


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_handshake_is_refused_with_the_status(status: int):
    async with running_standin(faults={"refuse_handshake": status, "refuse_count": 1}) as standin:
        with pytest.raises(InvalidStatus) as caught:
            async with client_of(standin):
                pass
        async with client_of(standin):
            pass

        assert caught.value.response.status_code == status


@pytest.mark.parametrize("code", ["rate_limit_exceeded", "insufficient_quota", "server_error"])
async def test_failed_response_has_its_code_no_output_and_no_usage(code: str):
    async with running_standin() as standin, client_of(standin) as client:
        standin.set_faults(failed_response=code, failed_count=1)
        await client.send("response.create")
        failed = (await client.until("response.done"))[-1]["response"]
        events = await client.answer()

        assert (failed["status"], failed["status_details"]["error"]["code"]) == ("failed", code)
        assert (failed["output"], failed["usage"]["total_tokens"]) == ([], 0)
        assert events[-2]["response"]["status"] == "completed"


async def test_incomplete_response_stops_half_way():
    async with running_standin(faults={"incomplete_response": "content_filter"}) as standin:
        async with client_of(standin) as client:
            await client.configure(instructions='Greet with "12345678"', output_modalities=["text"])
            events = await client.answer()

        assert events[-2]["response"]["status_details"] == {"type": "incomplete", "reason": "content_filter"}
        assert said(events) == "1234"


async def test_malformed_frame_and_unknown_event_come_before_the_response():
    faults = {"malformed_frame": True, "unknown_event": True}
    async with running_standin(faults=faults) as standin, client_of(standin, checked=False) as client:
        await client.send("response.create")
        malformed = await client.socket.recv()
        unknown = await client.next()
        created = await client.next()

        with pytest.raises(ValueError, match="Expecting value"):
            json.loads(malformed)
        assert (unknown["type"], created["type"]) == ("response.mood.changed", "response.created")


async def test_duplicate_call_has_one_call_id_and_two_items():
    async with running_standin(faults={"duplicate_call": True}) as standin, client_of(standin) as client:
        await client.configure(tools=[KNOCK], output_modalities=["text"])
        await client.say("knock at the door")
        output = (await client.answer())[-2]["response"]["output"]

        calls = [item for item in output if item["type"] == "function_call"]
        assert len(calls) == 2
        assert (len({call["call_id"] for call in calls}), len({call["id"] for call in calls})) == (1, 2)


async def test_script_forces_what_the_model_says_and_calls():
    script = [{"say": "No.", "call": [["pay", {"sum": 9}], ["pay", {"sum": 9}]]}, {"fail": "server_error"}]
    async with running_standin(faults={"script": script}) as standin, client_of(standin) as client:
        await client.configure(instructions='Greet with "Hi."', output_modalities=["text"])
        first = await client.answer(instructions='Say "Yes."', tools=[])
        await client.send("response.create")
        second = (await client.until("response.done"))[-1]["response"]
        third = await client.answer()

        output = first[-2]["response"]["output"]
        assert [item.get("name") for item in output] == [None, "pay", "pay"]
        assert said(first) == "No."
        assert second["status"] == "failed"
        assert said(third) == "Hi."


async def test_rate_limits_and_updates_can_be_withheld():
    async with running_standin(faults={"no_rate_limits": True}) as standin, client_of(standin) as client:
        standin.set_faults(withhold_session_updated=True)
        await client.send("session.update", session={"type": "realtime", "instructions": 'Greet with "Hi."'})
        await client.send("response.create")
        await client.until("response.done")
        await client.send("response.cancel")
        last = await client.next()

        assert "session.updated" not in kinds(client.events)
        assert last["error"]["code"] == "response_cancel_not_active"


async def test_delays_keep_the_order():
    async with running_standin(faults={"delay_ms": 2, "delta_ms": 1}) as standin, client_of(standin) as client:
        await client.configure(output_modalities=["text"])
        events = await client.answer()

        assert kinds(events)[-2:] == ["response.done", "rate_limits.updated"]


def test_fault_of_a_command_line_is_parsed_by_its_type():
    faults = Faults(**dict(map(parse_fault, ["delay_ms=20", "close_code=1006", "unknown_event=true", "pace=2.5"])))  # type: ignore[arg-type]

    assert faults == Faults(delay_ms=20, close_code=1006, unknown_event=True, pace=2.5)
    assert parse_fault('script=[{"say": "Hi."}]') == ("script", [{"say": "Hi."}])
    assert parse_fault("failed_response=server_error") == ("failed_response", "server_error")
    assert parse_fault("close_after_events=3") == ("close_after_events", 3)


@pytest.mark.parametrize("text", ["nonsense", "unheard_of=1", "delay_ms=soon", "script={}"])
def test_fault_that_is_none_is_a_sentence(text: str):
    with pytest.raises(ValueError, match="fault"):
        parse_fault(text)


async def test_unknown_knob_cannot_be_set():
    async with running_standin() as standin:
        with pytest.raises(AttributeError):
            standin.set_faults(explode=True)
