"""What a caller may not say never reaches the model: on real servers, every client event bent in every way."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from sessions_app.models import Event
from tests.faults.kit import until
from tests.mutations import ALLOWED, AUDIO, FORBIDDEN, REFUSED_AS, SAME, Json, event_of
from tests.servers import Server, ended_call, in_thread, live_agent

CANARY = "CANARY-forbidden"
OPENING = ["session.update", "response.create"]  # what we say by ourselves: the configuration and the greeting

# The eleven client events of the Realtime API with fields that a caller must not choose.
GREEDY: dict[str, Json] = {
    "session.update": {
        "session": {
            "type": "realtime",
            "instructions": CANARY,
            "tools": [{"type": "function", "name": CANARY}],
            "tool_choice": "required",
            "voice": CANARY,
            "model": CANARY,
            "prompt": {"id": CANARY},
            "tracing": {"workflow_name": CANARY},
            "max_output_tokens": 1,
            "audio": {"input": {"transcription": {"prompt": CANARY}, "turn_detection": {"type": CANARY}}},
        }
    },
    "input_audio_buffer.append": {"audio": AUDIO, "x": CANARY},
    "input_audio_buffer.commit": {"previous_item_id": CANARY},
    "input_audio_buffer.clear": {"x": CANARY},
    "conversation.item.create": {
        "item": {
            "type": "message",
            "role": "user",
            "status": CANARY,
            "content": [{"type": "input_text", "text": "Hello", "annotations": CANARY}],
            "phase": CANARY,
        },
        "previous_item_id": CANARY,
    },
    "conversation.item.retrieve": {"item_id": CANARY},
    "conversation.item.truncate": {"item_id": CANARY, "content_index": 9, "audio_end_ms": 5},
    "conversation.item.delete": {"item_id": CANARY},
    "response.create": {
        "response": {
            "instructions": CANARY,
            "tools": [{"type": "function", "name": CANARY}],
            "input": [{"type": "message", "role": "system", "content": [{"type": "input_text", "text": CANARY}]}],
            "conversation": "none",
            "output_modalities": ["text"],
            "max_output_tokens": 1,
        }
    },
    "response.cancel": {"response_id": CANARY},
    "output_audio_buffer.clear": {"x": CANARY},
}


BURST_BYTES, BURST_MESSAGES = 1_500_000, 800


def echoed(text: str, code: str) -> str | None:
    """Return the event_id that the refusal of `text` repeats."""
    if code in ("invalid_json", "message_too_large"):
        return None
    given = json.loads(text).get("event_id")
    return given if isinstance(given, str) and len(given) <= 512 else None


async def test_no_bent_event_reaches_the_model_and_the_call_goes_on(server: Server):
    agent = await in_thread(live_agent)
    bent: list[tuple[str, str]] = []
    for number, (bend, code) in enumerate(REFUSED_AS.values()):
        kinds = (*ALLOWED, *FORBIDDEN)
        bent += [(bend({**event_of(kind), "event_id": f"mine_{number}"}), code) for kind in kinds]
    told: list[Any] = []

    async with server.upstream() as standin:
        for texts in in_calls([text for text, _ in bent]):
            async with server.call(agent) as caller:
                await caller.until("response.done")
                for text in texts:
                    await caller.socket.send(text)
                told += [(await caller.until("error"))[-1]["error"] for _ in texts]
                await caller.say("Are you there?")
                await caller.send("response.create")
                await caller.until("response.done")
        await ended_call(agent)

    assert [(error["code"], error["event_id"]) for error in told] == [(code, echoed(text, code)) for text, code in bent]
    reached = [*OPENING, "conversation.item.create", "response.create"]
    sessions = [[event["type"] for event in session] for session in standin.received]
    assert sessions == [reached] * len(sessions)


def in_calls(texts: list[str]) -> list[list[str]]:
    """Part the texts into what one caller may send at once."""
    calls: list[list[str]] = [[]]
    for text in texts:
        if sum(map(len, calls[-1])) + len(text) > BURST_BYTES or len(calls[-1]) >= BURST_MESSAGES:
            calls.append([])
        calls[-1].append(text)
    return calls


async def test_allowed_events_reach_the_model_without_what_was_added(server: Server):
    agent = await in_thread(live_agent)

    async with server.upstream() as standin:
        async with server.call(agent) as caller:
            await caller.until("response.done")
            for bend in SAME.values():
                for kind in ("input_audio_buffer.append", "input_audio_buffer.clear"):
                    await caller.socket.send(bend(event_of(kind)))
            for kind, fields in GREEDY.items():
                await caller.send(kind, event_id=kind, **fields)
            errors: list[str] = []
            while "output_audio_buffer.clear" not in errors:
                errors.append((await caller.until("error"))[-1]["error"]["event_id"])
            await caller.say("Goodbye")
            await caller.until("conversation.item.done")
        await ended_call(agent)

    received = standin.received[0][len(OPENING) :]
    assert CANARY not in json.dumps(received)
    # The model's own refusal, of a buffer without a word in it, may come between ours.
    assert [name for name in errors if name != "input_audio_buffer.commit"] == [
        "conversation.item.retrieve",
        "conversation.item.truncate",
        "conversation.item.delete",
        "output_audio_buffer.clear",
    ]
    # Of the cancels only our own may come: of the reply that runs when the caller leaves.
    passed_on = [event for event in received if event["type"] != "response.cancel"]
    shapes = Counter((event["type"], *sorted(event)) for event in passed_on)
    assert shapes == {
        ("input_audio_buffer.append", "audio", "type"): len(SAME) + 1,
        ("input_audio_buffer.clear", "event_id", "type"): len(SAME) + 1,
        ("input_audio_buffer.commit", "event_id", "type"): 1,
        ("conversation.item.create", "event_id", "item", "type"): 2,
        ("response.create", "event_id", "type"): 1,
    }
    items = [event["item"] for event in received if event["type"] == "conversation.item.create"]
    assert [sorted(item) for item in items] == [["content", "id", "role", "type"]] * 2
    assert items[0]["content"] == [{"type": "input_text", "text": "Hello"}]


async def test_what_is_said_before_the_model_is_ready_is_held_to_the_same(uvicorn: Server):
    agent = await in_thread(live_agent)

    async with uvicorn.upstream(faults={"withhold_session_updated": True}) as standin:
        async with uvicorn.call(agent) as caller:
            await caller.until("session.created")
            for kind in FORBIDDEN:
                await caller.socket.send(json.dumps(event_of(kind)))
            errors = [(await caller.until("error"))[-1]["error"]["code"] for _ in FORBIDDEN]
            await until(lambda: standin.received and standin.received[0])
        await ended_call(agent)

    assert errors == ["event_not_allowed"] * len(FORBIDDEN)
    assert [event["type"] for event in standin.received[0]] == ["session.update"]


async def test_refusals_stand_in_the_record_by_their_codes_alone(uvicorn: Server):
    agent = await in_thread(live_agent)

    async with uvicorn.upstream():
        async with uvicorn.call(agent) as caller:
            await caller.until("response.done")
            await caller.send("conversation.item.delete", item_id=CANARY, event_id=CANARY)
            await caller.socket.send(f'{{"{CANARY}": 1, "{CANARY}": 2}}')
            await caller.socket.send(CANARY.encode())
            for _ in range(3):
                await caller.until("error")
        call = await ended_call(agent)

    events = await in_thread(lambda: list(Event.objects.filter(session=call).values("type", "direction", "fields")))
    refused = [event["fields"] for event in events if event["type"] == "refused"]
    assert refused == [{"code": "event_not_allowed"}, {"code": "invalid_json"}, {"code": "invalid_json"}]
    assert CANARY not in json.dumps(events)
    assert CANARY not in uvicorn.log()
