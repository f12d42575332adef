"""Interruptions: who is heard, how much of a reply was heard, and the line that no model speaks. Pure."""

from __future__ import annotations

from typing import Any

from agents_app.guardrails import first_tripped
from sessions_app.call.responses import Purpose
from sessions_app.call.state import CallState, PendingCut
from sessions_app.call.transcript import Entry, heard_chars
from sessions_app.effects import CutSound, Effect
from sessions_app.events import encode_audio

REPORT_WAIT_MS = 300  # for the caller's page to say how much it had played
CLIP_DELTA_MS = 200
MAX_LINE_MS = 15_000  # for a fixed line to be heard
SPOKEN_CHARS_A_SECOND = 15  # of English, at the usual speed
ASK_NOTHING = ("one_moment",)  # the fixed lines after which a yes still answers the question before them


def interrupt(state: CallState, at: int) -> list[Effect]:
    """The caller takes the floor: what is playing stops. What was heard of it the clock says now, the page soon."""
    released, playing = state.outbox.interrupt(at)
    effects = state.went_out(released, at)
    for item_id in playing:
        entry, heard_ms = state.transcript.get(item_id), state.outbox.heard_ms(item_id, at)
        if entry is None:
            effects += truncate(state, item_id, heard_ms, at)
        elif entry.truncated_ms is None:
            state.floor.cuts.append(PendingCut(item_id, heard_ms, at + REPORT_WAIT_MS))
            effects += state.save(*state.transcript.change(item_id, **heard_up_to(state, entry, heard_ms)))
    return effects


def stop_reply(state: CallState, at: int) -> list[Effect]:
    """Cancel the active response ourselves. Only where upstream does not do so: a late cancel hits the next reply."""
    response_id = state.responses.active_id
    effects: list[Effect] = []
    if response_id is not None:
        state.outbox.silence(response_id)
        if state.responses.stop(response_id, at):
            effects += state.to_model({"type": "response.cancel", "response_id": response_id}, at)
    return effects + interrupt(state, at)


def heard_reported(state: CallState, item_id: str, played_ms: int, at: int) -> list[Effect]:
    """The caller's page says how much of an item it has played."""
    state.outbox.report(item_id, played_ms)
    for cut in list(state.floor.cuts):
        if cut.item_id == item_id:
            state.floor.cuts.remove(cut)
            return truncate(state, item_id, played_ms, at)
    return []


def settle_cuts(state: CallState, at: int, *, now: bool = False) -> list[Effect]:
    """Truncate by the clock what no report came for in time."""
    due = [cut for cut in state.floor.cuts if now or cut.until <= at]
    state.floor.cuts = [cut for cut in state.floor.cuts if cut not in due]
    return [effect for cut in due for effect in truncate(state, cut.item_id, cut.heard_ms, at)]


def truncate(state: CallState, item_id: str, heard_ms: int, at: int) -> list[Effect]:
    """Make the one truncation of an item: what was heard of it, never more than was sent."""
    entry = state.transcript.get(item_id)
    heard_ms = min(heard_ms, state.outbox.sent_ms(item_id))
    heard: dict[str, Any] = {"interrupted": True, "heard_ms": heard_ms, "heard_chars": 0}
    if entry is not None:  # else its sound has overtaken it
        if entry.truncated_ms is not None or entry.fact.speaker != "agent" or not audio_ms(state, entry):
            return []
        entry.truncated_ms = heard_ms
        heard = heard_up_to(state, entry, heard_ms)
    effects = state.save(*state.transcript.change(item_id, **heard))
    if not heard["interrupted"]:
        return effects
    effects.append(CutSound(item_id, heard_ms))
    fixed = entry is not None and entry.fact.source == "fixed"
    if not fixed and not state.life.caller_gone:
        event = {"type": "conversation.item.truncate", "item_id": item_id, "content_index": 0, "audio_end_ms": heard_ms}
        effects += state.to_model(event, at)
    return effects


def heard_up_to(state: CallState, entry: Entry, heard_ms: int, words: str | None = None) -> dict[str, Any]:
    """Return how the record says that so much of an item was heard: of one that was heard whole, that it was not cut.

    Words run ahead of their sound: of an item that is not all said, only what the sound can hold was heard.
    """
    words = entry.fact.text if words is None else words
    length_ms = whole_ms = audio_ms(state, entry)
    if entry.fact.ended_ms is None or entry.broken:
        whole_ms = max(length_ms, len(words) * 1000 // SPOKEN_CHARS_A_SECOND)
    elif 0 < length_ms <= heard_ms:
        return {"interrupted": False, "heard_ms": None, "heard_chars": None}
    chars = heard_chars(words, heard_ms=heard_ms, audio_ms=whole_ms)
    return {"interrupted": True, "heard_ms": heard_ms, "heard_chars": chars, "audio_ms": length_ms}


def audio_ms(state: CallState, entry: Entry) -> int:
    """Return how long an item's sound is, as far as it has been generated."""
    generated = entry.audio_bytes // state.brief.audio.bytes_per_ms
    return max(entry.fact.audio_ms, generated, state.outbox.sent_ms(entry.fact.item_id))


def trips(state: CallState, text: str) -> bool:
    return state.floor.alarm is None and first_tripped(state.brief.rules, text) is not None


def caller_words(state: CallState, item_id: str, text: str, at: int) -> list[Effect]:
    """Hold the caller's words, as far as they are known, against the guardrails."""
    if state.floor.alarm is not None or state.life.state == "ended" or state.life.caller_gone:
        return []
    rule = first_tripped(state.brief.rules, text)
    if rule is None:
        return []
    state.floor.alarm, state.floor.alarmed_item = rule.index, item_id
    state.responses.drop()
    effects = state.note_own("guardrail.tripped", at, rule=rule.name, item_id=item_id)
    effects += state.close_question("replaced", at) + stop_reply(state, at)
    number = state.brief.emergency_number if rule.shows_emergency_number else ""
    effects += state.tell_own({"type": "frontdesk.emergency", "line": rule.line, "number": number}, at)
    effects += say_fixed(state, f"guardrail:{rule.index}", rule.line, at)
    if state.life.hang_up_at is not None:  # said during the goodbye: the line is heard all the same
        state.life.hang_up_at = max(state.life.hang_up_at, at + MAX_LINE_MS)
        state.life.deadline = max(state.life.deadline, state.life.hang_up_at)
    note = f'A safety rule of the clinic was triggered, and the caller has been told: "{rule.line}". Book nothing now.'
    return effects + state.note_to_model(note, at)


def say_line(state: CallState, name: str, at: int, *, known_to_model: bool = False) -> list[Effect]:
    """Give the caller one of the version's fixed lines; `known_to_model` when the model must know what it said.

    A line without sound is spoken by the model, while there is one: who listens reads nothing.
    """
    text = getattr(state.brief.lines, name)
    if not has_sound(state, name) and "audio" in state.floor.modalities and state.link.ready and not state.ending:
        return state.say_exactly(Purpose.LINE, text, at)
    effects = say_fixed(state, name, text, at)
    if known_to_model:
        content = [{"type": "output_text", "text": text}]
        said_as = state.transcript.last_shown
        item = {"id": said_as, "type": "message", "role": "assistant", "content": content}
        effects += state.to_model({"type": "conversation.item.create", "item": item}, at)
    return effects


def has_sound(state: CallState, line: str) -> bool:
    return bool(state.brief.clips.get(line))


def say_fixed(state: CallState, line: str, text: str, at: int) -> list[Effect]:
    """Give the caller a fixed line: its clip where there is one, its words in any case. No model speaks it."""
    item_id, response_id = state.tally.new_id("item"), state.tally.new_id("resp")
    clip = state.brief.clips.get(line, b"") if state.floor.sound_wanted else b""
    kind = "output_audio" if clip else "output_text"
    item = {"id": item_id, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    done = {**item, "status": "completed", "content": [{"type": kind, "transcript" if clip else "text": text}]}
    response: dict[str, Any] = {
        "object": "realtime.response",
        "id": response_id,
        "metadata": None,
        "status_details": None,
        "output_modalities": ["audio" if clip else "text"],
    }
    ids = {"response_id": response_id, "item_id": item_id, "output_index": 0, "content_index": 0}
    previous, state.transcript.last_shown = state.transcript.last_shown, item_id
    events: list[tuple[dict[str, Any], bytes]] = [
        ({"type": "response.created", "response": {**response, "status": "in_progress", "output": []}}, b""),
        ({"type": "response.output_item.added", "response_id": response_id, "output_index": 0, "item": item}, b""),
        ({"type": "conversation.item.added", "item": item, "previous_item_id": previous}, b""),
        *_spoken(state, ids, text, clip),
        ({"type": "conversation.item.done", "item": done, "previous_item_id": previous}, b""),
        ({"type": "response.output_item.done", "response_id": response_id, "output_index": 0, "item": done}, b""),
        ({"type": "response.done", "response": {**response, "status": "completed", "output": [done]}}, b""),
    ]
    effects: list[Effect] = []
    for event, pcm in events:
        effects += state.tell(event, at, in_order=True, pcm=pcm, item_id=item_id if pcm else "")
    starts = state.outbox.starts_at(item_id)
    audio_ms = len(clip) // state.brief.audio.bytes_per_ms
    fact = state.transcript.add_fixed(
        item_id, text, started_ms=at if starts is None else starts, audio_ms=audio_ms, response_id=response_id
    )
    if line not in ASK_NOTHING:
        state.confirmation.agent_spoke(response_id)
    return effects + state.save(fact)


def _spoken(state: CallState, ids: dict[str, Any], text: str, clip: bytes) -> list[tuple[dict[str, Any], bytes]]:
    if not clip:
        part = {"type": "text", "text": text}
        return [
            ({"type": "response.content_part.added", **ids, "part": {"type": "text", "text": ""}}, b""),
            ({"type": "response.output_text.delta", **ids, "delta": text}, b""),
            ({"type": "response.output_text.done", **ids, "text": text}, b""),
            ({"type": "response.content_part.done", **ids, "part": part}, b""),
        ]
    size = CLIP_DELTA_MS * state.brief.audio.bytes_per_ms
    chunks = [clip[start : start + size] for start in range(0, len(clip), size)]
    part = {"type": "audio", "transcript": text}
    return [
        ({"type": "response.content_part.added", **ids, "part": {"type": "audio", "transcript": ""}}, b""),
        ({"type": "response.output_audio_transcript.delta", **ids, "delta": text}, b""),
        *(({"type": "response.output_audio.delta", **ids, "delta": encode_audio(chunk)}, chunk) for chunk in chunks),
        ({"type": "response.output_audio.done", **ids}, b""),
        ({"type": "response.output_audio_transcript.done", **ids, "transcript": text}, b""),
        ({"type": "response.content_part.done", **ids, "part": part}, b""),
    ]


def answers_alarm(state: CallState) -> bool:
    """Whether a response that begins now would answer the words that tripped a guardrail: they have their answer."""
    return state.floor.alarm is not None and state.floor.alarmed_item == state.transcript.newest_caller_item
