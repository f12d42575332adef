from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sessions_app.effects import ToCaller
from sessions_app.outbox import Outbox

MS = 48  # bytes


def sound(item_id: str, ms: int, response_id: str = "resp_1") -> ToCaller:
    event = {"type": "response.output_audio.delta", "response_id": response_id, "item_id": item_id}
    return ToCaller(event, item_id=item_id, pcm=bytes(ms * MS))


def done(response_id: str = "resp_1") -> ToCaller:
    return ToCaller({"type": "response.done", "response": {"id": response_id}})


def an_outbox(**fields: Any) -> Outbox:
    return Outbox(bytes_per_ms=MS, **fields)


def test_sound_goes_out_at_once_up_to_five_seconds_ahead():
    outbox = an_outbox()
    first, second = sound("item_1", 4000), sound("item_1", 2000)

    sent = outbox.push(first, 0, in_order=True) + outbox.push(second, 10, in_order=True)

    assert sent == [first, second]
    assert outbox.push(sound("item_1", 100), 20, in_order=True) == []


def test_held_sound_goes_out_when_it_is_due():
    outbox = an_outbox()
    outbox.push(sound("item_1", 6000), 0, in_order=True)
    late = sound("item_1", 100)
    outbox.push(late, 0, in_order=True)

    early = outbox.due(1000)
    due_at = outbox.next_due()
    on_time = outbox.due(1001)

    assert (early, due_at, on_time) == ([], 1001, [late])


def test_done_event_waits_behind_the_sound_it_follows():
    outbox = an_outbox()
    outbox.push(sound("item_1", 6000), 0, in_order=True)
    held, end = sound("item_1", 100), done()
    outbox.push(held, 0, in_order=True)

    at_once = outbox.push(end, 0, in_order=True)

    assert at_once == []
    assert outbox.due(2000) == [held, end]


def test_event_of_no_response_does_not_wait():
    outbox = an_outbox()
    outbox.push(sound("item_1", 9000), 0, in_order=True)
    outbox.push(sound("item_1", 100), 0, in_order=True)
    speech = ToCaller({"type": "input_audio_buffer.speech_started"})

    assert outbox.push(speech, 0, in_order=False) == [speech]


def test_interruption_drops_sound_and_releases_events():
    outbox = an_outbox()
    outbox.push(sound("item_1", 6000), 0, in_order=True)
    outbox.push(sound("item_1", 3000), 0, in_order=True)
    end = done()
    outbox.push(end, 0, in_order=True)

    released, playing = outbox.interrupt(1500)

    assert (released, playing) == ([end], ["item_1"])
    assert outbox.heard_ms("item_1", 1500) == 1500
    assert outbox.quiet_at() == 1500


def test_no_sound_of_a_cut_response_goes_out_later():
    outbox = an_outbox()
    outbox.push(sound("item_1", 1000), 0, in_order=True)
    outbox.interrupt(500)

    late = outbox.push(sound("item_1", 100), 600, in_order=True)
    next_reply = outbox.push(sound("item_2", 100, "resp_2"), 700, in_order=True)

    assert late == []
    assert [effect.item_id for effect in next_reply] == ["item_2"]


def test_item_that_waited_when_the_caller_spoke_was_not_heard_at_all():
    outbox = an_outbox()
    outbox.push(sound("item_1", 6000), 0, in_order=True)
    outbox.push(sound("item_2", 500), 0, in_order=True)

    _, playing = outbox.interrupt(100)

    assert playing == ["item_1", "item_2"]
    assert outbox.heard_ms("item_2", 9000) == 0


def test_second_item_is_heard_after_the_first():
    outbox = an_outbox()
    outbox.push(sound("item_1", 1000), 0, in_order=True)
    outbox.push(sound("item_2", 1000), 0, in_order=True)

    assert outbox.heard_ms("item_1", 1500) == 1000
    assert outbox.heard_ms("item_2", 1500) == 500
    assert outbox.ends_at("item_2") == 2000


def test_report_of_the_page_beats_the_clock_and_is_bounded_by_what_was_sent():
    outbox = an_outbox()
    outbox.push(sound("item_1", 1000), 0, in_order=True)

    outbox.report("item_1", 300)
    by_report = outbox.heard_ms("item_1", 900)
    outbox.report("item_1", 99_000)

    assert by_report == 300
    assert outbox.heard_ms("item_1", 900) == 1000


def test_gap_in_the_sound_is_not_counted_as_heard():
    outbox = an_outbox()
    outbox.push(sound("item_1", 500), 0, in_order=True)
    outbox.push(sound("item_1", 500), 2000, in_order=True)

    assert outbox.heard_ms("item_1", 2100) == 600


@given(st.lists(st.tuples(st.integers(1, 3000), st.integers(0, 2000), st.booleans()), max_size=30))
def test_order_holds_and_sound_is_never_far_ahead(steps: list[tuple[int, int, bool]]):
    outbox = an_outbox()
    now, pushed, sent = 0, [], []
    for number, (length, pause, is_sound) in enumerate(steps):
        now += pause
        effect = sound("item_1", length) if is_sound else ToCaller({"type": "response.done", "n": number})
        pushed.append(effect)
        sent += outbox.push(effect, now, in_order=True)
        ahead = (outbox.ends_at("item_1") or 0) - now if outbox.quiet_at() is not None else 0
        assert ahead <= 5000 + 3000

    while (due := outbox.next_due()) is not None:
        now = max(now, due)
        sent += outbox.due(now)

    assert sent == pushed
