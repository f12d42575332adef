"""R14: the words of a caller who has hung up come late, or never."""

from __future__ import annotations

import asyncio
import json
import time

from sessions_app.models import CallSession, Item
from tests.faults import stamps
from tests.faults.echo_upstream import WORDS, running_echo
from tests.faults.kit import roomy_agent, until
from tests.servers import Server, ended_call, in_thread

LATE_S = 1.5
GRACE_S = 3.0
BUSY_S = 4.0  # what a busy machine may add


async def test_words_that_come_after_the_end_are_waited_for_three_seconds_and_then_marked_as_missing(server: Server):
    """R14: two calls end in mid-turn; the words of one come 1.5 s later, those of the other never."""
    late, never = [await in_thread(roomy_agent) for _ in range(2)]

    async with running_echo(port=server.upstream_port, transcribes=False) as echo:

        async def hang_up_in_mid_turn(agent: object, number: int) -> float:
            async with server.call(agent) as caller:  # type: ignore[arg-type]
                await caller.until("response.done")
                sound = stamps.frame(stamps.Stamp(number, 0, 0)).decode()
                await caller.socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": sound}))
                await caller.until("response.output_audio.delta")
            return time.monotonic()

        await hang_up_in_mid_turn(late, 0)
        await until(lambda: echo.sessions[-1].turns)
        ended_late = asyncio.get_running_loop().call_later(
            LATE_S, echo.sessions[-1].transcribe, echo.sessions[-1].turns[-1]
        )
        heard = await ended_call(late)
        hung_up = await hang_up_in_mid_turn(never, 1)
        unheard = await ended_call(never)
        took_s = time.monotonic() - hung_up
        ended_late.cancel()

    assert await in_thread(lambda: words(heard)) == [(WORDS, "done")]
    assert await in_thread(lambda: words(unheard)) == [("", "failed")]
    assert GRACE_S - 0.5 <= took_s < GRACE_S + BUSY_S
    assert [call.end_reason for call in (heard, unheard)] == ["caller", "caller"]


def words(call: CallSession) -> list[tuple[str, str]]:
    spoken = Item.objects.filter(session=call, speaker="caller", source="speech")
    return list(spoken.values_list("text", "transcript_state"))
