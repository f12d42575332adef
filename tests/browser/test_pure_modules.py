"""The other pure modules of the talk page: captions, sound, help, memory."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page

from sessions_app.standin.formats import _decoding
from sessions_app.templatetags.phone import tel

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]
Event = dict[str, Any]


def added(item: str, role: str, previous: str | None = None, *content: Event) -> Event:
    message = {"id": item, "type": "message", "role": role, "status": "completed", "content": list(content)}
    return {"type": "conversation.item.added", "item": message, "previous_item_id": previous}


def heard(item: str, transcript: str) -> Event:
    kind = "conversation.item.input_audio_transcription.completed"
    return {"type": kind, "item_id": item, "content_index": 0, "transcript": transcript}


def delta(item: str, text: str) -> Event:
    return {"type": "response.output_audio_transcript.delta", "item_id": item, "delta": text}


SPOKEN = {"type": "input_audio", "transcript": None}
STARTED = {"type": "input_audio_buffer.speech_started", "item_id": "u1"}
FAILED = {"type": "conversation.item.input_audio_transcription.failed", "item_id": "u1", "error": {}}


@pytest.fixture
def captions(modules: Page) -> Any:
    async def captions(*events: Event) -> list[tuple[str, str, str, str]]:
        """Return (side, state, heard text, unheard text) of each line."""
        lines = await modules.evaluate(
            """async (events) => {
              const { NO_LINES, reduce, heardSplit } = await import("/static/sessions_app/captions.js");
              return events.reduce(reduce, NO_LINES).map((line) => [line.side, line.state, ...heardSplit(line)]);
            }""",
            list(events),
        )
        return [tuple(line) for line in lines]

    return captions


async def test_captions_follow_the_order_of_the_items_not_of_their_arrival(captions: Any) -> None:
    lines = await captions(
        added("a1", "assistant"),
        delta("a1", "Hello."),
        STARTED,
        added("a2", "assistant", "u1"),
        delta("a2", "When?"),
        added("u1", "user", "a1", SPOKEN),
        heard("u1", "I need a cleaning."),
    )

    assert [line[2] for line in lines] == ["Hello.", "I need a cleaning.", "When?"]


async def test_a_caption_grows_and_is_corrected_when_the_transcript_completes(captions: Any) -> None:
    done = {"type": "response.output_audio_transcript.done", "item_id": "a1", "transcript": "Hello, this is Lexi."}
    growing = [added("a1", "assistant"), delta("a1", "Helo "), delta("a1", "this")]

    assert await captions(*growing) == [("agent", "streaming", "Helo this", "")]
    assert await captions(*growing, done) == [("agent", "final", "Hello, this is Lexi.", "")]


async def test_callers_words_wait_then_come_or_are_shown_as_inaudible_or_were_none(captions: Any) -> None:
    spoken = [STARTED, added("u1", "user", None, SPOKEN)]

    assert await captions(STARTED) == [("caller", "pending", "", "")]
    assert await captions(*spoken) == [("caller", "pending", "", "")]
    assert await captions(*spoken, heard("u1", " Yes. ")) == [("caller", "final", "Yes.", "")]
    assert await captions(*spoken, FAILED) == [("caller", "failed", "", "")]
    assert await captions(*spoken, heard("u1", "")) == []


async def test_a_transcript_before_its_item_is_kept(captions: Any) -> None:
    early = {"type": "conversation.item.input_audio_transcription.delta", "item_id": "u1", "delta": "I nee"}

    assert await captions(early, added("u1", "user", None, SPOKEN)) == [("caller", "streaming", "I nee", "")]


async def test_the_unheard_tail_of_a_reply_is_parted_between_words(captions: Any) -> None:
    cut = {"type": "interrupted", "items": [{"item_id": "a1", "played_ms": 500, "received_ms": 1000}]}
    silent = {"type": "interrupted", "items": [{"item_id": "a1", "played_ms": 0, "received_ms": 0}]}
    reply = [added("a1", "assistant"), delta("a1", "One two three four")]

    assert await captions(*reply, cut) == [("agent", "final", "One two", " three four")]
    assert await captions(*reply, silent) == [("agent", "final", "", "One two three four")]
    assert await captions(*reply, cut, delta("a1", " five")) == [("agent", "final", "One two", " three four five")]


async def test_a_typed_message_is_shown_at_once_and_once(captions: Any) -> None:
    typed = {"type": "typed", "id": "msg_1", "text": "Hello"}
    echo = added("msg_1", "user", None, {"type": "input_text", "text": "Hello"})

    assert await captions(typed) == [("caller", "pending", "Hello", "")]
    assert await captions(typed, echo) == [("caller", "final", "Hello", "")]
    assert await captions(typed, {"type": "not_sent", "id": "msg_1"}) == [("caller", "failed", "Hello", "")]


async def test_an_answer_that_overtakes_the_echo_of_its_message_stays_behind_it(captions: Any) -> None:
    echo = added("msg_1", "user", "a2", {"type": "input_text", "text": "I have chest pain"})

    lines = await captions(
        added("a1", "assistant"),
        delta("a1", "Hello."),
        {"type": "typed", "id": "msg_1", "text": "I have chest pain"},
        added("a2", "assistant", "a1"),
        delta("a2", "Please call 911."),
        echo,
    )

    assert [line[2] for line in lines] == ["Hello.", "I have chest pain", "Please call 911."]


async def test_hidden_kinds_of_item_and_empty_replies_leave_no_line(captions: Any) -> None:
    call = {"type": "conversation.item.added", "item": {"id": "f1", "type": "function_call"}, "previous_item_id": None}
    empty = {"id": "a1", "type": "message", "role": "assistant", "content": []}

    lines = await captions(
        call, added("s1", "system"), added("a1", "assistant"), {"type": "conversation.item.done", "item": empty}
    )

    assert lines == []


async def test_sound_survives_both_spellings_bit_for_bit(modules: Page) -> None:
    differing = await modules.evaluate(
        """async () => {
          const { toFloats, toPcm16, encode, decode } = await import("/static/sessions_app/pcm.js");
          const all = Int16Array.from({ length: 65536 }, (_, i) => i - 32768);
          const parts = Array.from({ length: 64 }, (_, i) => all.subarray(i * 1024, (i + 1) * 1024));
          const back = parts.map((part) => toPcm16(toFloats(decode(encode(part)))));
          return back.reduce((n, part, i) => n + part.filter((value, k) => value !== parts[i][k]).length, 0);
        }"""
    )

    assert differing == 0


@pytest.mark.parametrize("rate", [48000, 44100, 16000])
async def test_another_rate_becomes_24_khz_with_a_tone_kept_and_what_would_fold_back_left_out(
    modules: Page, rate: int
) -> None:
    kept, folded, count = await modules.evaluate(
        """async (rate) => {
          const { Resampler } = await import("/static/sessions_app/resampler.js");
          const level = (hertz) => {
            const resampler = new Resampler(rate, 24000);
            const out = [];
            for (let at = 0; at < rate; at += 128) {
              const size = Math.min(128, rate - at);
              const sine = (_, i) => Math.sin(2 * Math.PI * hertz * (at + i) / rate);
              const block = Float32Array.from({ length: size }, sine);
              out.push(...resampler.push(block));
            }
            const middle = out.slice(2400, 21600);
            return [Math.sqrt(middle.reduce((sum, x) => sum + x * x, 0) / middle.length), out.length];
          };
          const [low, count] = level(1000);
          return [low, rate > 24000 ? level(17000)[0] : 0, count];
        }""",
        rate,
    )

    assert abs(kept - 0.7071) < 0.01
    assert folded < 0.02
    assert 24000 - 100 <= count <= 24000


async def test_the_steps_are_those_of_the_browser_in_use(modules: Page) -> None:
    mozilla = "Mozilla/5.0"
    agents = {
        f"{mozilla} (X11; Linux x86_64) AppleWebKit/537.36 Chrome/141.0.0.0 Safari/537.36": "chrome",
        f"{mozilla} (Windows NT 10.0) AppleWebKit/537.36 Chrome/141.0.0.0 Safari/537.36 Edg/141.0": "edge",
        f"{mozilla} (X11; Linux; rv:140.0) Gecko/20100101 Firefox/140.0": "firefox",
        f"{mozilla} (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605 Version/18.0 Safari/605": "safari_mac",
        f"{mozilla} (iPhone; CPU iPhone OS 18_0) AppleWebKit/605 Version/18.0 Mobile Safari/604": "safari_iphone",
        f"{mozilla} (Linux; Android 15; Pixel) AppleWebKit/537 Chrome/141.0 Mobile Safari/537": "chrome_android",
        f"{mozilla} (Linux; Android 15; Pixel; wv) AppleWebKit/537 Chrome/141.0 Mobile Safari/537": "in_app",
        f"{mozilla} (iPhone; CPU iPhone OS 18_0) AppleWebKit/605 [FBAN/FBIOS]": "in_app",
        "Lynx/2.9": "other",
    }
    told = await modules.evaluate(
        """async (agents) => {
          const { browserOf } = await import("/static/sessions_app/microphone_help.js");
          const ipad = browserOf("(Macintosh) Safari/605", { touchPoints: 5 });
          return [...agents.map((agent) => browserOf(agent)), ipad];
        }""",
        list(agents),
    )

    assert told == [*agents.values(), "safari_iphone"]


async def test_preferences_that_make_no_sense_are_forgotten(modules: Page) -> None:
    told = await modules.evaluate(
        """async () => {
          const { load } = await import("/static/sessions_app/preferences.js");
          const odd = '{"volume": 40, "pushToTalk": "yes", "echoGuard": "loud", "name": "Sam"}';
          const kept = [odd, "null", "{", '{"volume": 101}'];
          return kept.map((text) => load({ getItem: () => text }));
        }"""
    )

    usual = {
        "volume": 100,
        "pushToTalk": False,
        "moreTime": False,
        "echoGuard": None,
        "microphone": "",
        "captionSize": "medium",
    }
    assert told == [{**usual, "volume": 40}, usual, usual, usual]


async def test_a_dead_microphone_is_remarked_once_and_again_only_after_sound(modules: Page) -> None:
    told = await modules.evaluate(
        """async () => {
          const { QuietWatch } = await import("/static/sessions_app/quiet_watch.js");
          const watch = new QuietWatch();
          const push = (length, level, status) =>
            Array.from({ length }, () => watch.push(level, 40, status)).filter(Boolean);
          return [
            push(124, 0, "listening"), push(300, 0, "speaking"), push(100, 0, "listening"), push(2, 0.1, "listening"),
            push(9, 0.1, "muted"), push(50, 0.1, "muted"),
          ];
        }"""
    )

    assert told == [[], [], ["quiet"], ["sound"], [], ["talking_muted"]]


async def test_frames_are_short_while_somebody_speaks_and_in_the_pause_after_it(modules: Page) -> None:
    lengths = await modules.evaluate(
        """async () => {
          const { FrameLength } = await import("/static/sessions_app/frame_length.js");
          const length = new FrameLength();
          const after = (blocks, level) => {
            for (let i = 0; i < blocks; i += 1) length.push(level, 240);
            return length.samples;
          };
          return [length.samples, after(300, 0.005), after(1, 0.1), after(149, 0), after(1, 0), after(1, 0.1)];
        }"""
    )

    assert lengths == [960, 960, 480, 480, 960, 480]


async def test_a_telephones_steps_are_those_of_g711(modules: Page) -> None:
    table = _decoding("audio/pcmu")

    heard = await modules.evaluate(
        """async () => {
          const { muLaw } = await import("/static/sessions_app/telephone.js");
          return Array.from({ length: 65536 }, (_, i) => Math.round(muLaw((i - 32768) / 32768) * 32768));
        }"""
    )

    assert {abs(level) for level in heard} == {abs(level) for level in table}
    assert all(abs(level - sample) <= 8 + abs(sample) / 30 for sample, level in enumerate(heard, start=-32768))


async def test_a_telephone_keeps_speech_and_leaves_out_what_is_above_it(modules: Page) -> None:
    kept, above, count = await modules.evaluate(
        """async () => {
          const { Telephone } = await import("/static/sessions_app/telephone.js");
          const level = (hertz) => {
            const line = new Telephone();
            const out = [];
            for (let at = 0; at < 24000; at += 240) {
              const sine = (_, i) => Math.sin(2 * Math.PI * hertz * (at + i) / 24000);
              out.push(...line.push(Float32Array.from({ length: 240 }, sine)));
            }
            const middle = out.slice(2400, 21600);
            return [Math.sqrt(middle.reduce((sum, x) => sum + x * x, 0) / middle.length), out.length];
          };
          const [low, count] = level(1000);
          return [low, level(6000)[0], count];
        }"""
    )

    assert abs(kept - 0.7071) < 0.03
    assert above < 0.02
    assert abs(count - 24000) < 200


async def test_what_the_page_counts_is_told_when_it_is_new_and_never_when_all_is_well(modules: Page) -> None:
    told = await modules.evaluate(
        """async () => {
          const { SoundReport } = await import("/static/sessions_app/sound_report.js");
          const report = new SoundReport();
          const frames = (count, silencedMs) =>
            Array.from({ length: count }, () => report.frame(40, silencedMs)).filter(Boolean);
          const well = frames(250, 0);
          report.dropped();
          report.underrun();
          const once = frames(250, 40);
          const anotherMicrophone = frames(125, 20);
          return [well, once, anotherMicrophone];
        }"""
    )

    assert told == [
        [],
        [{"dropped_frames": 1, "silenced_ms": 40, "underruns": 1}],
        [{"dropped_frames": 1, "silenced_ms": 60, "underruns": 1}],
    ]


async def test_a_guard_that_is_off_or_has_nothing_to_guard_against_changes_no_sample(modules: Page) -> None:
    changed = await modules.evaluate(
        """async () => {
          const { EchoGuard } = await import("/static/sessions_app/echo_guard.js");
          const tone = (level) => Float32Array.from({ length: 240 }, (_, i) => level * Math.sin(i / 3));
          const run = (mode, played) => {
            const guard = new EchoGuard(mode);
            return Array.from({ length: 100 }).some(() => {
              const block = tone(0.1);
              guard.push(block, tone(played));
              return block.some((value, i) => value !== tone(0.1)[i]);
            });
          };
          return [run("guarded", 0), run("half_duplex", 0), run("off", 0.3), run("guarded", 0.3)];
        }"""
    )

    assert changed == [False, False, False, True]


async def test_each_wait_for_an_answer_is_told_when_it_grows_long(modules: Page) -> None:
    told = await modules.evaluate(
        """async () => {
          const { Store } = await import("/static/sessions_app/store.js");
          const { watchTime } = await import("/static/sessions_app/pacing.js");
          const { status } = await import("/static/sessions_app/call_state.js");
          const store = new Store({ pushToTalk: false });
          watchTime(store);
          const told = [];
          const slow = () => new Promise((resolve) =>
            store.watch(({ state }, { state: before }) => state.slow && !before.slow && resolve(status(state))));
          const stories = [
            [{ type: "start", mode: "text" }, { type: "session.created" }],
            [{ type: "asked" }], // though the greeting is not here yet
            [{ type: "lost" }, { type: "session.created" }],
          ];
          for (const events of stories) {
            const late = slow();
            for (const event of events) store.dispatch(event);
            told.push([status(store.state), await late]);
          }
          return told;
        }"""
    )

    assert told == [["listening", "thinking"]] * 3


async def test_the_script_dials_an_emergency_number_as_the_page_does(modules: Page) -> None:
    numbers = ["911", "+1 (541) 555-0123", "*77", "541-555-0123 ext. 4", "541 555 0123 x12"]

    dialled = await modules.evaluate(
        """async (numbers) => {
          const { dial } = await import("/static/sessions_app/dom.js");
          return numbers.map(dial);
        }""",
        numbers,
    )

    assert dialled == [tel(number, "*#") for number in numbers]


def told_done(item: str, text: str) -> Event:
    content = [{"type": "output_audio", "transcript": text}]
    message = {"id": item, "type": "message", "role": "assistant", "status": "completed", "content": content}
    return {"type": "conversation.item.done", "item": message, "previous_item_id": None}


async def test_captions_told_again_after_a_lost_line_are_the_same_and_hold_what_was_missed(captions: Any) -> None:
    cut = {"type": "interrupted", "items": [{"item_id": "a1", "played_ms": 500, "received_ms": 1000}]}
    spoken = {"type": "output_audio", "transcript": "When would you like to come?"}
    card = {"type": "frontdesk.card", "id": "card_1", "lines": [["When", "Monday"]]}
    before = [
        added("a1", "assistant"),
        delta("a1", "One two three four"),
        cut,
        added("a2", "assistant"),
        delta("a2", "When"),
    ]
    again = [
        added("a1", "assistant", None, {"type": "output_audio", "transcript": "One two"}),
        told_done("a1", "One two"),
        card,
        card,
        added("a2", "assistant", "a1", spoken),
        delta("a2", " Today?"),
    ]

    assert await captions(*before, *again) == [
        ("agent", "final", "One two", " three four"),
        ("card", "final", "", ""),
        ("agent", "streaming", "When would you like to come? Today?", ""),
    ]
    assert await captions(*again) == [
        ("agent", "final", "One two", ""),
        ("card", "final", "", ""),
        ("agent", "streaming", "When would you like to come? Today?", ""),
    ]
