"""The session object, items and refusals, over a real socket."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from sessions_app.standin.server import running_standin
from tests.sessions_app.standin.recording import client_of, function, said

SESSION_KEYS = {
    "type",
    "object",
    "id",
    "model",
    "output_modalities",
    "instructions",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "max_output_tokens",
    "tracing",
    "truncation",
    "prompt",
    "expires_at",
    "audio",
    "include",
}


async def test_first_event_shows_the_whole_session():
    async with running_standin() as standin, client_of(standin, "model=lexi") as client:
        session = client.events[0]["session"]

        assert set(session) == SESSION_KEYS
        assert session["model"] == "lexi"
        assert session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 500
        assert session["audio"]["output"] == {
            "format": {"type": "audio/pcm", "rate": 24000},
            "voice": "marin",
            "speed": 1.0,
        }


async def test_update_merges_what_is_present_and_shows_the_whole_session():
    async with running_standin() as standin, client_of(standin) as client:
        first = await client.configure(instructions="Be kind.", tools=[function("knock", "Knock.")])
        second = await client.configure(
            audio={"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 700}}}
        )
        third = await client.configure(tools=[], audio={"input": {"turn_detection": None}})

        assert (first["instructions"], second["instructions"]) == ("Be kind.", "Be kind.")
        assert second["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 700
        assert second["audio"]["input"]["turn_detection"]["create_response"] is True
        assert (second["tools"][0]["name"], third["tools"]) == ("knock", [])
        assert third["audio"]["input"]["turn_detection"] is None


async def test_empty_instructions_bring_the_default_persona_back():
    async with running_standin() as standin, client_of(standin) as client:
        default = client.events[0]["session"]["instructions"]
        await client.configure(instructions="Be kind.")

        session = await client.configure(instructions="")

        assert session["instructions"] == default


@pytest.mark.parametrize(
    ("session", "code", "param"),
    [
        ({"type": "realtime", "temperature": 0.8}, "unknown_parameter", "session.temperature"),
        ({"type": "realtime", "audio": {"input": {"vad": 1}}}, "unknown_parameter", "session.audio.input.vad"),
        ({"type": "realtime", "model": "other"}, "invalid_value", "session.model"),
        ({"type": "realtime", "output_modalities": ["audio", "text"]}, "invalid_value", "session.output_modalities"),
        ({"type": "realtime", "instructions": 4}, "invalid_type", "session.instructions"),
        ({"instructions": "x"}, "missing_required_parameter", "session.type"),
        (
            {"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcm", "rate": 16000}}}},
            "invalid_value",
            "session.audio.input.format",
        ),
        (
            {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 10}}}},
            "invalid_value",
            "session.audio.input.turn_detection.idle_timeout_ms",
        ),
        (
            {"type": "realtime", "tools": [{"type": "function", "name": "x", "strict": True}]},
            "unknown_parameter",
            "session.tools[0].strict",
        ),
    ],
)
async def test_refused_update_names_the_path_and_applies_nothing(session: dict[str, Any], code: str, param: str):
    async with running_standin() as standin, client_of(standin) as client:
        await client.send("session.update", session=session | {"max_output_tokens": 7}, event_id="e1")
        event = await client.next()
        after = await client.configure()

        assert {key: event["error"][key] for key in ("code", "param", "event_id")} == {
            "code": code,
            "param": param,
            "event_id": "e1",
        }
        assert after["max_output_tokens"] == "inf"


async def test_voice_stays_once_it_was_heard():
    async with running_standin() as standin, client_of(standin) as client:
        await client.configure(instructions='Greet with "Hi."', audio={"output": {"voice": "cedar"}})
        await client.answer()

        await client.send("session.update", session={"type": "realtime", "audio": {"output": {"voice": "ash"}}})
        event = await client.next()

        assert event["error"]["code"] == "cannot_update_voice"


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"type": "session.greet"}, "invalid_value"),
        ({"nothing": 1}, "missing_required_parameter"),
        ({"type": "response.cancel"}, "response_cancel_not_active"),
        ({"type": "response.create", "response": {"temperature": 1}}, "unknown_parameter"),
        ({"type": "response.create", "extra": 1}, "unknown_parameter"),
        ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty"),
        ({"type": "input_audio_buffer.append", "audio": "not base64!"}, "invalid_value"),
        ({"type": "input_audio_buffer.append", "audio": base64.b64encode(b"odd").decode()}, "invalid_value"),
        ({"type": "output_audio_buffer.clear"}, "invalid_event"),
        ({"type": "conversation.item.delete", "item_id": "item_x"}, "item_delete_invalid_item_id"),
        ({"type": "conversation.item.retrieve", "item_id": "item_x"}, "item_retrieve_invalid_item_id"),
        (
            {"type": "conversation.item.truncate", "item_id": "item_x", "content_index": 0, "audio_end_ms": 0},
            "item_truncate_invalid_item_id",
        ),
    ],
)
async def test_bad_event_is_an_error_and_the_session_goes_on(event: dict[str, Any], code: str):
    async with running_standin() as standin, client_of(standin) as client:
        await client.socket.send(json.dumps({**event, "event_id": "mine"}))
        answer = await client.next()
        await client.configure()

        assert (answer["error"]["code"], answer["error"]["event_id"]) == (code, "mine")


async def test_frame_that_is_not_json_is_an_error_without_an_event_id():
    async with running_standin() as standin, client_of(standin) as client:
        await client.socket.send("{")
        answer = await client.next()

        assert (answer["error"]["code"], answer["error"]["event_id"]) == ("invalid_event", None)


@pytest.mark.parametrize(
    ("item", "code", "param"),
    [
        (
            {"type": "message", "role": "assistant", "content": [{"type": "output_audio", "audio": ""}]},
            "missing_required_parameter",
            "item.content[0].text",
        ),
        (
            {"type": "message", "role": "user", "content": [{"type": "output_text", "text": "x"}]},
            "invalid_value",
            "item.content[0].type",
        ),
        ({"type": "function_call_output", "call_id": "call_x", "output": ""}, "invalid_tool_call_id", "item.call_id"),
        (
            {"id": "i" * 33, "type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]},
            "string_above_max_length",
            "item.id",
        ),
        (
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x" * 256_001}]},
            "string_above_max_length",
            "item.content[0].text",
        ),
        ({"type": "mcp_call"}, "invalid_value", "item.type"),
    ],
)
async def test_bad_item_is_refused(item: dict[str, Any], code: str, param: str):
    async with running_standin() as standin, client_of(standin) as client:
        await client.send("conversation.item.create", item=item)
        answer = await client.next()

        assert (answer["error"]["code"], answer["error"]["param"]) == (code, param)


async def test_items_are_placed_retrieved_and_deleted():
    async with running_standin() as standin, client_of(standin) as client:
        for item_id, after in (("a", None), ("b", "root"), ("c", "b")):
            content = [{"type": "input_text", "text": item_id}]
            item = {"id": item_id, "type": "message", "role": "user", "content": content}
            await client.send("conversation.item.create", item=item, previous_item_id=after)
            await client.until("conversation.item.done")
        await client.send("conversation.item.retrieve", item_id="c")
        retrieved = await client.next()
        await client.send("conversation.item.delete", item_id="c")
        deleted = await client.next()

        befores = [e["previous_item_id"] for e in client.events if e["type"] == "conversation.item.added"]
        assert befores == [None, None, "b"]
        assert retrieved["item"] == {
            "id": "c",
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "c"}],
            "status": "completed",
        }
        assert deleted["item_id"] == "c"


async def test_unknown_previous_item_is_refused():
    async with running_standin() as standin, client_of(standin) as client:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]}
        await client.send("conversation.item.create", item=item, previous_item_id="item_none")

        assert (await client.next())["error"]["param"] == "previous_item_id"


async def test_truncation_is_bounded_by_the_sound_and_takes_the_transcript_out_of_the_context():
    async with running_standin() as standin, client_of(standin) as client:
        await client.configure(instructions='Greet with "Good morning to you."')
        item_id = (await client.answer())[-2]["response"]["output"][0]["id"]
        where = {"item_id": item_id, "content_index": 0}

        await client.send("conversation.item.truncate", **where, audio_end_ms=60_000)
        too_long = await client.next()
        await client.send("conversation.item.truncate", **where, audio_end_ms=250)
        truncated = await client.next()
        await client.send("conversation.item.retrieve", item_id=item_id)
        retrieved = await client.next()

        assert too_long["error"]["code"] == "invalid_value"
        assert (truncated["audio_end_ms"], truncated["item_id"]) == (250, item_id)
        assert retrieved["item"]["content"] == [{"type": "output_audio", "transcript": None}]


async def test_instructions_of_one_response_replace_the_sessions_for_it():
    async with running_standin() as standin, client_of(standin) as client:
        await client.configure(instructions='Greet with "Good morning."', output_modalities=["text"])

        events = await client.answer(instructions='Say exactly: "Your visit is on \'Monday\' at "two"."', tools=[])

        assert said(events) == "Your visit is on 'Monday' at \"two\"."


async def test_max_output_tokens_cut_the_answer():
    async with running_standin() as standin, client_of(standin) as client:
        await client.configure(instructions='Greet with "Good morning to you all."', output_modalities=["text"])

        events = await client.answer(max_output_tokens=2)

        response = events[-2]["response"]
        assert response["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
        assert said(events) == "Good mor"
        assert response["output"][0]["status"] == "incomplete"


@pytest.mark.parametrize(("kind", "bytes_a_ms"), [("audio/pcm", 48), ("audio/pcmu", 8), ("audio/pcma", 8)])
async def test_audio_format_is_a_value_in_both_directions(kind: str, bytes_a_ms: int):
    wire = {"type": kind, "rate": 24000} if kind == "audio/pcm" else {"type": kind}
    async with running_standin() as standin, client_of(standin) as client:
        await client.configure(
            instructions='Greet with "Hi."',
            audio={"input": {"format": wire, "turn_detection": None}, "output": {"format": wire}},
        )
        events = await client.answer()
        await client.send("input_audio_buffer.append", audio=base64.b64encode(bytes(bytes_a_ms * 99)).decode())
        await client.send("input_audio_buffer.commit")
        short = await client.next()
        await client.send("input_audio_buffer.append", audio=base64.b64encode(bytes(bytes_a_ms * 40)).decode())
        await client.send("input_audio_buffer.commit")
        committed = await client.next()

        spoken = b"".join(base64.b64decode(e["delta"]) for e in events if e["type"] == "response.output_audio.delta")
        tokens = events[-2]["response"]["usage"]["output_token_details"]["audio_tokens"]
        assert abs(len(spoken) / bytes_a_ms - tokens * 50) <= 55
        assert short["error"]["code"] == "input_audio_buffer_commit_empty"
        assert committed["type"] == "input_audio_buffer.committed"


async def test_caller_sound_is_shown_by_retrieve_alone():
    async with running_standin() as standin, client_of(standin) as client:
        await client.configure(audio={"input": {"turn_detection": None}})
        sound = base64.b64encode(b"\x01\x00" * 4800).decode()
        await client.send("input_audio_buffer.append", audio=sound)
        await client.send("input_audio_buffer.commit")
        events = await client.until("conversation.item.done")
        await client.send("conversation.item.retrieve", item_id=events[-1]["item"]["id"])
        retrieved = await client.next()

        assert events[-1]["item"]["content"] == [{"type": "input_audio", "transcript": None}]
        assert retrieved["item"]["content"][0]["audio"] == sound


async def test_cleared_buffer_is_empty():
    async with running_standin() as standin, client_of(standin) as client:
        await client.configure(audio={"input": {"turn_detection": None}})
        await client.send("input_audio_buffer.append", audio=base64.b64encode(bytes(9600)).decode())
        await client.send("input_audio_buffer.clear")
        await client.send("input_audio_buffer.commit")
        events = await client.until("error")

        assert [event["type"] for event in events] == ["input_audio_buffer.cleared", "error"]


async def test_received_events_can_be_read_by_a_test():
    async with running_standin() as standin:
        async with client_of(standin) as client:
            await client.configure(max_output_tokens=5)
        async with client_of(standin) as client:
            await client.answer()

        assert [[event["type"] for event in events] for events in standin.received] == [
            ["session.update"],
            ["response.create"],
        ]
