"""Sound in which nobody said anything: a radio, a door. It is not answered, and runs no tool. Pure.

The service answers whatever it took for speech. When the transcript of a turn comes back without a word, the answer
to it is cancelled. Since it may be a caller who is hard to hear, one answer to many such turns in a row is heard: the
one that had begun to sound before the transcript came, or else, at the second turn, a fixed line.
"""

from __future__ import annotations

from sessions_app.call import turns
from sessions_app.call.responses import Purpose
from sessions_app.call.state import CallState, Chatter
from sessions_app.effects import Effect

ASKED_AGAIN_AT = 2  # turns without a word, in a row


def words_came(state: CallState) -> None:
    state.chatter = Chatter(response_id=state.chatter.response_id)


def no_words(state: CallState, item_id: str, at: int) -> list[Effect]:
    """The transcript of a turn is empty."""
    entry = state.transcript.get(item_id)
    spoken = entry is not None and entry.fact.source == "speech"
    if not spoken or not state.floor.hands_free or item_id != state.transcript.newest_caller_item or state.ending:
        return []
    if item_id in state.monologue.parts:
        return []
    response_id = state.responses.active_id
    if response_id is not None and state.responses.purpose is not Purpose.AUTOMATIC:
        return []
    chatter = state.chatter
    chatter.in_a_row, chatter.unsaid = chatter.in_a_row + 1, item_id
    effects = state.note_own("chatter.ignored", at, item_id=item_id)
    if response_id is not None:
        chatter.response_id = response_id
        if _is_heard(state, response_id) and not chatter.asked:
            chatter.asked = True
            return effects
        _answers_nothing(state, response_id)
        effects += turns.stop_reply(state, at)
    if chatter.in_a_row >= ASKED_AGAIN_AT and not chatter.asked:
        chatter.asked = True
        effects += turns.say_line(state, "say_again", at, known_to_model=True)
    return effects


def is_answer(state: CallState, response_id: str, purpose: Purpose) -> bool:
    """Whether a response that begins now answers a turn without words."""
    unsaid = state.chatter.unsaid
    if purpose is not Purpose.AUTOMATIC or not unsaid or unsaid != state.transcript.newest_caller_item:
        return False
    state.chatter.response_id = response_id
    _answers_nothing(state, response_id)
    return True


def _answers_nothing(state: CallState, response_id: str) -> None:
    """What tools found is not said in this response: it is asked for when that is over."""
    state.functions.answer_due |= response_id == state.responses.answers_for_us


def asks_for_tools(state: CallState) -> bool:
    """Whether the response that is being made answers nothing: its function calls are not run."""
    return state.responses.active_id is not None and state.responses.active_id == state.chatter.response_id


def _is_heard(state: CallState, response_id: str) -> bool:
    return any(entry.audio_bytes or entry.done for entry in state.transcript.of_response(response_id))
