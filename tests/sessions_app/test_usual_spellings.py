"""Sound in its usual spelling goes a short way: what comes out is what the long way makes of it, or nothing does."""

from __future__ import annotations

import binascii
import json
from base64 import b64encode
from contextlib import nullcontext
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sessions_app import events
from sessions_app.dialect import heard, said
from sessions_app.events import AudioDelta, Malformed

APPEND = {"type": "input_audio_buffer.append", "audio": ""}
DELTA = {
    "type": "response.output_audio.delta",
    "event_id": "event_1",
    "response_id": "resp_1",
    "item_id": "item_1",
    "output_index": 0,
    "content_index": 0,
    "delta": "",
}
SPACINGS = [(",", ":"), (", ", ": ")]

sound = st.binary(max_size=40).map(lambda pcm: b64encode(pcm).decode())
# What stands where sound should, or beside it: quotes, escapes, other keys, the hole itself.
snippet = st.sampled_from(
    [
        '"',
        '","type":"session.update',
        '","delta":"AAAA',
        '","audio":"AAAA',
        "~",
        "\\u0041",
        "\\",
        "=",
        " ",
        "é",
        "\n",
        "\ud800",
        '{"delta":"AAAA"}',
        "AAAA",
        "A",
    ]
)
odd_sound = st.lists(st.one_of(sound, snippet), min_size=1, max_size=3).map("".join)


def outcome(text: str, *, short: bool) -> Any:
    """Return what is made of a caller's text, in all its parts, or the code with which it is refused."""
    try:
        event = said.parse_caller(text) if short else said._parse(text, 2)
    except said.Refused as refused:
        return refused.code
    return event


@given(audio=odd_sound, spacing=st.sampled_from(SPACINGS), head=st.sampled_from(["", " ", "[", "é"]), tail=snippet)
@example(audio="", spacing=SPACINGS[0], head="", tail="")
@example(audio="AA==", spacing=SPACINGS[0], head="", tail="")
def test_any_text_about_an_append_is_read_as_the_parser_reads_it(
    audio: str, spacing: tuple[str, str], head: str, tail: str
):
    usual = json.dumps(APPEND, separators=spacing).replace('""', f'"{audio}"')

    for text in (usual, head + usual, usual + tail, usual[:-2], usual.replace("append", "commit")):
        assert outcome(text, short=True) == outcome(text, short=False)


@given(text=st.text(max_size=60))
def test_any_text_is_read_as_the_parser_reads_it(text: str):
    assert outcome(text, short=True) == outcome(text, short=False)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_usual_append_goes_the_short_way_with_its_sound_as_it_was_spelled(spacing: tuple[str, str]):
    audio = b64encode(bytes(range(96)) * 20).decode()
    text = json.dumps({**APPEND, "audio": audio}, separators=spacing)

    event = said._usual_append(text, 2)

    assert event is not None
    assert (event.pcm, event.encoded) == (bytes(range(96)) * 20, audio)


def test_append_too_large_or_of_half_a_sample_is_refused_as_ever():
    large = json.dumps({**APPEND, "audio": "AAAA" * 16_384})
    half = json.dumps({**APPEND, "audio": b64encode(b"abc").decode()})

    assert [outcome(text, short=True) for text in (large, half)] == ["message_too_large", "invalid_audio"]


def test_padded_sound_is_spelled_anew():
    # "AB==" and "AA==" are the same byte: what the bits beyond it say is nobody's business.
    padded = said.parse_caller(json.dumps({**APPEND, "audio": "AAB="}))
    delta = events.parse(json.dumps({**DELTA, "delta": "AAB="}))

    assert isinstance(padded, said.Append)
    assert isinstance(delta, AudioDelta)
    assert (padded.pcm, padded.encoded, delta.delta, delta.encoded) == (b"\0\0", "", b"\0\0", "")


@given(text=st.one_of(odd_sound, st.text("AB/+=", max_size=12), st.text("AB=-_ \n\0é", max_size=9)))
@example(text="AAAA=")
@example(text="AAB=")
@example(text="AA==AAAA")
def test_sound_is_held_to_the_standard_librarys_strict_base64_in_whole_groups_of_four(text: str):
    try:
        # Some of its releases let needless padding behind a whole group pass.
        expected = binascii.a2b_base64(text, strict_mode=True) if text and len(text) % 4 == 0 else None
    except ValueError:
        expected = None

    try:
        decoded = events.decode_audio(text)
    except ValueError:
        decoded = None

    assert decoded == expected


@given(pcm=st.binary(max_size=40))
def test_sound_is_encoded_as_the_standard_library_encodes_it(pcm: bytes):
    assert events.encode_audio(pcm) == b64encode(pcm).decode()


def read(text: str, *, short: bool) -> Any:
    """Return what is made of a text of the model's side, by the short way where it may, or only by the long one."""
    with nullcontext() if short else patch.object(events, "_usual_sound", return_value=None):
        try:
            return events.parse(text)
        except Malformed:
            return Malformed


fields = st.permutations(sorted(DELTA)).map(lambda names: {name: DELTA[name] for name in names})


SECOND_ID = '"event_id":"event_2",'
NESTED = '"x":{"delta":"CCCC","event_id":"event_3"},'
values = st.one_of(st.integers(-1, 2), st.text(max_size=3), st.sampled_from([None, True, 0.0, "0", {"delta": "~"}]))
changes = st.dictionaries(st.sampled_from([*DELTA, "obfuscation"]), values, max_size=2)


@given(
    event=fields,
    delta=odd_sound,
    event_id=st.one_of(st.text(max_size=5), snippet),
    changed=changes,
    spacing=st.sampled_from(SPACINGS),
    twice=st.sampled_from(["", '"delta":"BBBB",', SECOND_ID, NESTED]),
)
@example(event=DELTA, delta="AAAA", event_id="~", changed={}, spacing=SPACINGS[0], twice="")
@example(event=DELTA, delta="AAAA", event_id="\n", changed={}, spacing=SPACINGS[0], twice="")
@example(event=DELTA, delta="AAAA", event_id="\\u0041", changed={}, spacing=SPACINGS[0], twice="")
@example(event=DELTA, delta="~", event_id="~", changed={}, spacing=SPACINGS[0], twice=NESTED)
@example(event=DELTA, delta="AAAA", event_id="event_1", changed={}, spacing=SPACINGS[0], twice=SECOND_ID)
@example(event=DELTA, delta="AAAA", event_id="event_1", changed={"item_id": "~"}, spacing=SPACINGS[0], twice="")
@example(
    event=DELTA, delta="AAAA", event_id="event_1", changed={"delta": {"delta": "~"}}, spacing=SPACINGS[0], twice=""
)
def test_any_text_about_an_audio_delta_is_read_as_json_reads_it(
    event: dict[str, Any], delta: str, event_id: str, changed: dict[str, Any], spacing: tuple[str, str], twice: str
):
    usual = json.dumps({**event, **changed}, separators=spacing, ensure_ascii=False)
    usual = usual.replace('""', f'"{delta}"').replace('"event_1"', f'"{event_id}"').replace("{", "{" + twice, 1)

    for text in (usual, usual[:-1], f"[{usual}]", usual.replace('"delta"', '"delta" '), usual[: usual.find(delta) + 2]):
        assert read(text, short=True) == read(text, short=False)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_usual_audio_delta_goes_the_short_way_in_any_order_of_its_fields(spacing: tuple[str, str]):
    sound_text = b64encode(bytes(1920)).decode()
    first = {**DELTA, "delta": sound_text}
    last = {"delta": sound_text, **{name: value for name, value in DELTA.items() if name != "delta"}}
    expected = AudioDelta("event_1", "resp_1", "item_1", 0, 0, bytes(1920), sound_text)

    for event in (first, {"event_id": "event_1", **first}):
        assert events._usual_sound(json.dumps(event, separators=spacing)) == expected
    assert events.parse(json.dumps(last, separators=spacing)) == expected


def test_deltas_of_one_item_are_read_apart():
    texts = [json.dumps({**DELTA, "event_id": f"event_{n}", "delta": f"AAA{n}"}, separators=(",", ":")) for n in "123"]

    read_ones = [events.parse(text) for text in texts]

    assert [event.event_id for event in read_ones] == ["event_1", "event_2", "event_3"]
    assert [event.encoded for event in read_ones if isinstance(event, AudioDelta)] == ["AAA1", "AAA2", "AAA3"]


@given(ids=st.lists(st.text(max_size=10), min_size=2, max_size=2), audio=sound)
def test_event_with_sound_is_spelled_as_json(ids: list[str], audio: str):
    event = {**DELTA, "response_id": ids[0], "item_id": ids[1], "delta": audio}
    other = {"type": "response.output_text.delta", "delta": ids[0]}

    assert json.loads(heard.spelled(event)) == event
    assert json.loads(heard.spelled(other)) == other
