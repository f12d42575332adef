from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sessions_app.effects import ToCaller
from sessions_app.events import decode_audio
from sessions_app.outbox import Outbox
from sessions_app.unheard import Unheard

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


class Page:
    """A caller's page: plays what it is sent, drops what is queued when its socket is gone, and says how far it was."""

    def __init__(self) -> None:
        self.queued: list[tuple[str, bytes]] = []
        self.heard: dict[str, bytes] = {}

    def take(self, effects: list[ToCaller]) -> None:
        self.queued += [(effect.item_id, effect.pcm) for effect in effects if effect.pcm]

    def play(self, ms: int) -> dict[str, int]:
        """Play for so long; return what has been played of each item that sounded."""
        room, items = ms * MS, []
        while self.queued and room > 0:
            item_id, pcm = self.queued.pop(0)
            self.heard[item_id] = self.heard.get(item_id, b"") + pcm[:room]
            items.append(item_id)
            if len(pcm) > room:
                self.queued.insert(0, (item_id, pcm[room:]))
            room -= min(room, len(pcm))
        return {item_id: self.played_ms(item_id) for item_id in items}

    def played_ms(self, item_id: str) -> int:
        return len(self.heard.get(item_id, b"")) // MS


def spoken(item_id: str, ms: int, *, first: int) -> ToCaller:
    """Sound of which each millisecond is told from every other."""
    pcm = b"".join((n % 65536).to_bytes(2, "little") * (MS // 2) for n in range(first, first + ms))
    event = {"type": "response.output_audio.delta", "response_id": "resp_1", "item_id": item_id, "delta": "x"}
    return ToCaller(event, item_id=item_id, pcm=pcm)


def audio_done(item_id: str) -> ToCaller:
    return ToCaller({"type": "response.output_audio.done", "response_id": "resp_1", "item_id": item_id})


def test_caller_who_comes_back_hears_on_from_what_its_page_had_reported():
    outbox = an_outbox(keeps=True)
    outbox.push(spoken("item_1", 3000, first=0), 0, in_order=True)
    outbox.push(audio_done("item_1"), 0, in_order=True)
    outbox.report("item_1", 800)

    paused = outbox.pause(2000)
    away = outbox.push(spoken("item_2", 100, first=3000), 2500, in_order=True)
    begun, sent = outbox.begun(), outbox.resume(9000)

    assert (paused, away, begun) == ({"item_1": 800}, [], {"item_1": 800})
    assert [effect.pcm for effect in sent] == [
        spoken("item_1", 2200, first=800).pcm,
        b"",
        spoken("item_2", 100, first=3000).pcm,
    ]
    assert decode_audio(sent[0].event["delta"]) == sent[0].pcm
    assert (outbox.ends_at("item_1"), outbox.heard_ms("item_1", 9500)) == (11_200, 800)


def test_end_of_a_sound_that_was_heard_whole_is_told_again():
    outbox = an_outbox(keeps=True)
    outbox.push(spoken("item_1", 400, first=0), 0, in_order=True)
    end = audio_done("item_1")
    outbox.push(end, 0, in_order=True)
    outbox.report("item_1", 400)

    outbox.pause(500)

    assert [effect.event for effect in outbox.resume(600)] == [end.event]


def test_report_that_the_caller_brings_back_with_it_is_better_than_the_last_one():
    outbox = an_outbox(keeps=True)
    for first in range(0, 2000, 200):
        outbox.push(spoken("item_1", 200, first=first), 0, in_order=True)
    outbox.push(audio_done("item_1"), 0, in_order=True)
    outbox.push(spoken("item_2", 1000, first=2000), 0, in_order=True)
    outbox.report("item_1", 400)

    outbox.pause(5000)
    outbox.report("item_1", 2000)
    outbox.report("item_2", 150)
    begun, sent = outbox.begun(), outbox.resume(6000)

    assert begun == {"item_2": 150}
    assert [effect.pcm for effect in sent] == [b"", spoken("item_2", 850, first=2150).pcm]


def test_nothing_goes_out_and_nothing_counts_as_heard_while_the_caller_is_away():
    outbox = an_outbox(keeps=True)
    outbox.push(spoken("item_1", 2000, first=0), 0, in_order=True)

    outbox.pause(1000)
    outbox.push(done(), 1000, in_order=True)

    assert (outbox.due(50_000), outbox.next_due(), outbox.quiet_at()) == ([], None, None)
    assert (outbox.heard_ms("item_1", 50_000), outbox.ends_at("item_1")) == (0, None)


def test_caller_who_never_comes_back_has_heard_what_was_reported():
    outbox = an_outbox(keeps=True)
    outbox.push(spoken("item_1", 2000, first=0), 0, in_order=True)
    outbox.report("item_1", 600)
    outbox.pause(1000)

    released, playing = outbox.interrupt(60_000)

    assert (released, playing, outbox.heard_ms("item_1", 60_000)) == ([], ["item_1"], 600)
    assert outbox.resume(61_000) == []


def test_sound_cut_off_before_the_caller_went_is_not_heard_when_it_is_back():
    outbox = an_outbox(keeps=True)
    outbox.push(spoken("item_1", 3000, first=0), 0, in_order=True)
    outbox.interrupt(500)

    assert outbox.pause(600) == {}
    assert outbox.resume(700) == []


def test_what_is_kept_is_bounded_and_the_oldest_goes_first():
    kept = Unheard(bytes_per_ms=MS, max_bytes=1000 * MS)
    for first in range(0, 1500, 100):
        kept.sent(spoken("item_1", 100, first=first), starts_ms=first)

    rest = kept.take_back()

    assert (rest[0].starts_ms, rest[-1].ends_ms, len(rest)) == (500, 1500, 10)


def test_caller_who_cannot_come_back_costs_no_memory():
    outbox = an_outbox()
    outbox.push(spoken("item_1", 3000, first=0), 0, in_order=True)

    assert outbox.pause(1000) == {}
    assert (outbox.paused, outbox.resume(2000)) == (False, [])


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("speaks"), st.integers(1, 900)),
        st.tuples(st.just("plays"), st.integers(1, 900)),
        st.tuples(st.just("next item"), st.just(0)),
        st.tuples(st.just("goes"), st.booleans()),
        st.tuples(st.just("comes back"), st.integers(0, 5000)),
    ),
    max_size=40,
)


@given(STEPS)
def test_page_that_comes_and_goes_hears_every_sample_once(steps: list[tuple[str, Any]]):
    outbox, page = an_outbox(keeps=True), Page()
    now, said, item, away = 0, {"item_1": b""}, 1, False
    unsaid: dict[str, int] = {}
    for what, how in steps:
        if what == "speaks":
            effect = spoken(f"item_{item}", how, first=len(said[f"item_{item}"]) // MS)
            said[f"item_{item}"] += effect.pcm
            page.take(outbox.push(effect, now, in_order=True))
        elif what == "plays" and not away:
            now += how
            for item_id, played_ms in page.play(how).items():
                outbox.report(item_id, played_ms)
            page.take(outbox.due(now))
        elif what == "next item":
            page.take(outbox.push(audio_done(f"item_{item}"), now, in_order=True))
            item += 1
            said[f"item_{item}"] = b""
        elif what == "goes" and not away:
            away = True
            unsaid = page.play(300) if how else {}  # played, and its report is lost on the way
            page.queued.clear()
            outbox.pause(now)
        elif what == "comes back" and away:
            away, now = False, now + how
            for item_id, played_ms in unsaid.items():
                outbox.report(item_id, played_ms)
            page.take(outbox.resume(now))
    if away:
        for item_id, played_ms in unsaid.items():
            outbox.report(item_id, played_ms)
        page.take(outbox.resume(now))
    for _ in range(200):
        now += 300
        for item_id, played_ms in page.play(300).items():
            outbox.report(item_id, played_ms)
        page.take(outbox.due(now))

    assert page.heard == {item_id: pcm for item_id, pcm in said.items() if pcm}
