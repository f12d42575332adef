"""Who is let in, and the requests beside the socket: keys, calls, sidebands, speech."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from openai.types.realtime import ClientSecretCreateResponse
from pydantic import TypeAdapter
from websockets.exceptions import InvalidStatus

from sessions_app.standin.server import Standin, running_standin
from tests.sessions_app.standin.recording import client_of, kinds

OFFER = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"


async def post(standin: Standin, path: str, key: str = "sk-test", **request: Any) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {key}", **request.pop("headers", {})}
    async with httpx2.AsyncClient(base_url=standin.http_url, trust_env=False) as client:
        return await client.post(f"{standin.http_url}{path}", headers=headers, **request)


async def refused(standin: Standin, query: str = "model=m", **options: Any) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as caught:
        async with client_of(standin, query, **options):
            pass
    response = caught.value.response
    return response.status_code, json.loads(response.body)["error"]["code"]


async def test_browser_key_in_a_subprotocol_is_taken_and_realtime_is_answered():
    async with running_standin() as standin:
        offered = ["realtime", "openai-insecure-api-key.sk-x", "openai-agents-sdk.0.20.0"]
        async with client_of(standin, subprotocols=offered) as client:
            assert client.socket.subprotocol == "realtime"


async def test_missing_and_wrong_keys_are_401():
    async with running_standin(key="sk-right") as standin:
        assert await refused(standin, key="") == (401, "invalid_api_key")
        assert await refused(standin, key="sk-wrong") == (401, "invalid_api_key")
        async with client_of(standin, key="sk-right"):
            pass


async def test_beta_header_is_refused():
    async with running_standin() as standin:
        answer = await refused(standin, headers={"OpenAI-Beta": "realtime=v1"})

        assert answer == (400, "beta_api_shape_disabled")


async def test_handshake_without_a_model_or_with_an_unknown_call_is_refused():
    async with running_standin() as standin:
        assert await refused(standin, "") == (400, "missing_required_parameter")
        assert await refused(standin, "call_id=rtc_none") == (404, "call_id_not_found")


async def test_minted_key_carries_its_session():
    async with running_standin(key="sk-right") as standin:
        session = {"type": "realtime", "model": "lexi", "instructions": 'Greet with "Hi."'}
        answer = await post(standin, "/realtime/client_secrets", "sk-right", json={"session": session})
        minted = answer.json()

        TypeAdapter(ClientSecretCreateResponse).validate_python(minted)
        async with client_of(standin, "", key=minted["value"]) as client:
            shown = client.events[0]["session"]
        assert (minted["session"]["expires_at"], minted["session"]["model"]) == (0, "lexi")
        assert (shown["model"], shown["instructions"]) == ("lexi", 'Greet with "Hi."')
        assert shown["id"] != minted["session"]["id"]


async def test_unknown_or_expired_ephemeral_key_is_401():
    async with running_standin() as standin:
        minted = (await post(standin, "/realtime/client_secrets", json={})).json()["value"]
        standin._keys._minted[minted] = (0.0, {})

        assert await refused(standin, key="ek_unknown") == (401, "invalid_api_key")
        assert await refused(standin, key=minted) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"expires_after": {"anchor": "created_at", "seconds": 5}}, "expires_after.seconds"),
        ({"session": {"model": "m"}}, "session.type"),
        ({"session": {"type": "realtime", "voice": "ash"}}, "session.voice"),
    ],
)
async def test_bad_request_for_a_key_is_400(body: dict[str, Any], param: str):
    async with running_standin() as standin:
        answer = await post(standin, "/realtime/client_secrets", json=body)

        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_call_is_created_steered_by_its_sideband_and_hung_up_once():
    async with running_standin() as standin:
        session = json.dumps({"type": "realtime", "model": "lexi", "instructions": 'Greet with "Hi there."'})
        parts = {"sdp": (None, OFFER, "application/sdp"), "session": (None, session, "application/json")}
        created = await post(standin, "/realtime/calls", files=parts)
        call_id = created.headers["Location"].rpartition("/")[2]

        async with client_of(standin, f"call_id={call_id}", greeted=False) as client:
            shown = await client.configure()
            events = await client.answer()
            events += await client.until("output_audio_buffer.stopped")
            first = await post(standin, f"/realtime/calls/{call_id}/hangup")
            second = await post(standin, f"/realtime/calls/{call_id}/hangup")
            await client.socket.wait_closed()

        assert (created.status_code, created.text[:5]) == (201, "v=0\r\n")
        assert shown["id"].removeprefix("sess_") == call_id.removeprefix("rtc_")
        assert client.events[0]["type"] == "session.updated"
        assert "response.output_audio.delta" not in kinds(events)
        assert "response.output_audio.done" in kinds(events)
        assert kinds(events).index("output_audio_buffer.started") < kinds(events).index("response.done")
        assert (first.status_code, first.content) == (200, b"")
        assert (second.status_code, second.json()["error"]["code"]) == (404, "call_id_not_found")


async def test_sideband_with_an_ephemeral_key_is_404():
    async with running_standin() as standin:
        minted = (await post(standin, "/realtime/client_secrets", json={})).json()["value"]
        created = await post(standin, "/realtime/calls", minted, content=OFFER)
        call_id = created.headers["Location"].rpartition("/")[2]

        assert await refused(standin, f"call_id={call_id}", key=minted) == (404, "call_id_not_found")


async def test_speech_without_a_voice_is_503():
    async with running_standin() as standin:
        body = {"model": "gpt-4o-mini-tts", "input": "Hello.", "voice": "marin", "response_format": "pcm"}
        answer = await post(standin, "/audio/speech", json=body)

        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "voice_unavailable")


async def test_health_and_unknown_addresses():
    async with running_standin() as standin:
        async with httpx2.AsyncClient(trust_env=False) as client:
            health = await client.get(f"http://127.0.0.1:{standin.port}/healthz")
        unknown = await post(standin, "/chat/completions", json={})

        assert health.json() == {"status": "ok", "voice": "tones"}
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "unknown_url")
