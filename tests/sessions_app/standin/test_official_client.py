"""The official client talks with the stand-in as with the service."""

from __future__ import annotations

from openai import AsyncOpenAI

from sessions_app.standin.server import running_standin


async def test_official_client_holds_a_text_turn():
    async with running_standin() as standin:
        client = AsyncOpenAI(api_key="sk-test", base_url=standin.http_url, websocket_base_url=standin.url)
        words: list[str] = []
        async with client, client.realtime.connect(model="lexi") as connection:
            await connection.session.update(
                session={
                    "type": "realtime",
                    "output_modalities": ["text"],
                    "instructions": "Parking: Park at the back.",
                }
            )
            content = {"type": "input_text", "text": "where can I park"}
            item = {"type": "message", "role": "user", "content": [content]}
            await connection.conversation.item.create(item=item)  # type: ignore[arg-type]
            await connection.response.create()
            async for event in connection:
                if event.type == "response.output_text.delta":
                    words.append(event.delta)
                if event.type == "response.done":
                    break

        assert "".join(words) == "Park at the back."


async def test_official_client_mints_a_key():
    async with running_standin() as standin:
        async with AsyncOpenAI(api_key="sk-test", base_url=standin.http_url) as client:
            secret = await client.realtime.client_secrets.create(session={"type": "realtime", "model": "lexi"})

        assert secret.value.startswith("ek_")
        assert secret.session.type == "realtime"
