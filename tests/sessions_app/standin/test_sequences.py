"""The orders of events, as whole lists: section 4 of the protocol's reference."""

from __future__ import annotations

import asyncio
import base64

from sessions_app.standin.server import running_standin
from tests.sessions_app.standin.recording import RecordingClient, client_of, function, kinds, said

SILENCE_100_MS = base64.b64encode(bytes(4800)).decode()
GREETING = 'Greet the caller: "Good morning. This is the mill."'

AUDIO_ANSWER = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
    "rate_limits.updated",
]
TEXT_ANSWER = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
    "rate_limits.updated",
]
USER_ITEM = ["conversation.item.added", "conversation.item.done"]
WEATHER = function("look_out_of_window", "Look at the weather outside: rain, wind, sun.")


async def test_greeting_in_audio_has_every_event_in_its_place():
    async with running_standin() as standin, client_of(standin) as client:
        await client.configure(instructions='Greet with "Good morning."')

        events = await client.answer()

        assert kinds(events) == AUDIO_ANSWER
        assert said(events) == "Good morning."


async def test_text_turn_has_every_event_in_its_place():
    async with running_standin() as standin, client_of(standin) as client:
        await client.configure(instructions=GREETING, output_modalities=["text"])
        await client.say("thanks")

        events = await client.answer()

        assert kinds(events) == [*USER_ITEM, *TEXT_ANSWER]
        assert said(events) == "You are welcome. Is there anything else I can do for you?"


async def test_transcript_leads_the_audio_of_each_sentence():
    async with running_standin() as standin, client_of(standin) as client:
        await client.configure(instructions=GREETING)

        events = await client.answer()

        deltas = [kind for kind in kinds(events) if kind.endswith(".delta")]
        assert deltas == ["response.output_audio_transcript.delta", "response.output_audio.delta"] * 2


async def test_function_call_comes_after_a_commentary_and_before_done():
    async with running_standin() as standin, client_of(standin) as client:
        await client.configure(tools=[WEATHER], output_modalities=["text"])
        await client.say("how is the weather outside")

        events = await client.answer()

        done = next(event for event in events if event["type"] == "response.done")
        message, function_call = done["response"]["output"]
        assert kinds(events)[2:] == [
            *TEXT_ANSWER[:-2],
            "response.output_item.added",
            "conversation.item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
            "rate_limits.updated",
        ]
        assert message["phase"] == "commentary"
        assert (function_call["name"], function_call["arguments"], function_call["status"]) == (
            "look_out_of_window",
            "{}",
            "completed",
        )


async def test_parallel_calls_are_one_response_and_their_arguments_hold_whitespace():
    script = [{"call": [["one", {"a": 1}], ["two", {"b": "x"}]]}]
    async with running_standin(faults={"script": script}) as standin, client_of(standin) as client:
        events = await client.answer()

        output = next(event for event in events if event["type"] == "response.done")["response"]["output"]
        assert [item["name"] for item in output] == ["one", "two"]
        assert [item["arguments"] for item in output] == ['{\n  "a": 1\n}', '{\n  "b": "x"\n}']
        assert len({item["call_id"] for item in output}) == 2


async def test_tool_output_then_one_response_is_the_answer():
    async with running_standin() as standin, client_of(standin) as client:
        await client.configure(tools=[WEATHER], output_modalities=["text"])
        await client.say("how is the weather outside")
        events = await client.answer()
        call_id = events[-2]["response"]["output"][1]["call_id"]
        output = '{"status": "ok", "data": {"say": "It is raining."}, "trace_id": "t"}'

        item = {"type": "function_call_output", "call_id": call_id, "output": output}
        await client.send("conversation.item.create", item=item)
        events = await client.answer()

        assert kinds(events) == [*USER_ITEM, *TEXT_ANSWER]
        assert said(events) == "It is raining."


async def test_push_to_talk_commits_and_answers_back_to_back():
    async with running_standin() as standin, client_of(standin) as client:
        await client.configure(audio={"input": {"turn_detection": None}})
        await client.send("input_audio_buffer.append", audio=SILENCE_100_MS)
        await client.send("input_audio_buffer.commit")

        events = await client.answer()

        assert (
            kinds(events)
            == ["input_audio_buffer.committed", *USER_ITEM, *AUDIO_ANSWER[:4]]
            + [
                "response.output_audio_transcript.delta",
                "response.output_audio.delta",
            ]
            * 2
            + AUDIO_ANSWER[6:]
        )
        assert said(events) == "I am sorry, speech is not understood here. Please type what you would like."


async def test_client_cancel_closes_what_is_open_with_what_was_said():
    async with running_standin(faults={"delta_ms": 20}) as standin, client_of(standin) as client:
        await client.configure(instructions=GREETING)
        await client.send("response.create")
        await client.until("response.output_audio.delta")

        await client.send("response.cancel")
        events = await client.until("response.done")

        response = events[-1]["response"]
        assert kinds([event for event in events if not event["type"].endswith(".delta")]) == [
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
        ]
        assert (response["status"], response["status_details"]) == (
            "cancelled",
            {"type": "cancelled", "reason": "client_cancelled"},
        )
        assert response["output"][0]["status"] == "incomplete"
        assert response["output"][0]["content"] == [{"type": "output_audio", "transcript": "Good morning. "}]
        assert response["usage"]["output_token_details"]["audio_tokens"] > 0


async def test_cancel_before_any_output_is_an_empty_response_with_no_usage():
    async with running_standin(faults={"silent_upstream": True}) as standin, client_of(standin) as client:
        await client.send("response.create")

        await client.send("response.cancel")
        events = await client.until("response.done")

        response = events[-1]["response"]
        assert kinds(events) == ["response.created", "response.done"]
        assert (response["output"], response["usage"]["total_tokens"]) == ([], 0)


async def test_out_of_band_response_runs_beside_the_conversation_and_leaves_no_item():
    async with running_standin(faults={"delta_ms": 5}) as standin, client_of(standin) as client:
        await client.configure(instructions=GREETING)
        await client.send("response.create")
        await client.until("response.output_audio_transcript.delta")

        settings = {
            "conversation": "none",
            "metadata": {"topic": "summary"},
            "output_modalities": ["text"],
            "instructions": 'Say "Two turns."',
            "input": [],
        }
        await client.send("response.create", response=settings)
        dones = [(await client.until("response.done"))[-1]["response"] for _ in range(2)]

        beside = next(response for response in dones if response["metadata"])
        added = [event["item"]["id"] for event in client.events if event["type"] == "conversation.item.added"]
        assert beside["metadata"] == {"topic": "summary"}
        assert beside["conversation_id"] is None
        assert beside["output"][0]["content"] == [{"type": "output_text", "text": "Two turns."}]
        assert beside["output"][0]["id"] not in added


async def test_idle_timeout_injects_a_system_item_and_an_empty_turn():
    async with running_standin() as standin, client_of(standin) as client:
        await client.configure(instructions='Greet with "Hi."', audio={"input": {"transcription": {"model": "m"}}})
        # The shortest that a client may ask for is five seconds: the timer itself is turned on, not waited for.
        session = standin.sessions[-1]
        await client.answer()

        session._nobody_spoke(5000)
        events = await client.until("rate_limits.updated")

        order = [event["type"] for event in events if "transcription" not in event["type"]]
        assert order[:6] == [
            "input_audio_buffer.timeout_triggered",
            *USER_ITEM,
            "input_audio_buffer.committed",
            *USER_ITEM,
        ]
        assert order[6] == "response.created"
        assert [event["item"]["role"] for event in events if event["type"] == "conversation.item.added"][:2] == [
            "system",
            "user",
        ]
        assert events[3]["previous_item_id"] == events[1]["item"]["id"]
        assert said(events) == "Are you still there?"


async def test_session_expires_with_an_error_and_a_clean_close():
    async with (
        running_standin(faults={"session_cap_ms": 30}) as standin,
        client_of(standin) as client,
    ):
        event = await client.next()
        await client.socket.wait_closed()

        assert event["error"]["code"] == "session_expired"
        assert client.socket.close_code == 1001


async def test_second_response_is_refused_while_one_is_active():
    async with running_standin(faults={"delta_ms": 5}) as standin, client_of(standin) as client:
        await client.configure(instructions=GREETING)
        await client.send("response.create")
        await client.until("response.created")

        await client.send("response.create", event_id="mine")
        events = await client.until("response.done", "error")

        assert events[-1]["error"]["code"] == "conversation_already_has_active_response"
        assert events[-1]["error"]["event_id"] == "mine"
        assert (await client.until("response.done"))[-1]["response"]["status"] == "completed"


async def test_sound_comes_faster_than_real_time():
    async with running_standin(faults={"pace": 1000.0}) as standin, client_of(standin) as client:
        await client.configure(instructions=GREETING)
        clock = asyncio.get_running_loop()

        begun = clock.time()
        events = await client.answer()

        heard_s = sum(audio_bytes(client, event) for event in events) / 48_000
        assert heard_s > clock.time() - begun


def audio_bytes(client: RecordingClient, event: dict[str, object]) -> int:
    if event["type"] != "response.output_audio.delta":
        return 0
    return len(base64.b64decode(str(event["delta"])))
