"""The upstream session's life: connected, configured, told of the conversation, watched, renewed when lost. Pure.

A session cannot be resumed, so a new one is seeded with the conversation as it was heard (`seed`). No tool runs twice:
a function call that still runs is told to whichever session is there when it is done. Sound waits meanwhile, at most
`caller_side.MAX_EARLY_MS` of it. Source: Realtime API reference, "Reconnect" and the 60-minute limit of a session.
"""

from __future__ import annotations

from typing import Any

from sessions_app.call import ending, items, tool_side, turns
from sessions_app.call.link import LATEST_ROLLOVER_MS, LOOK_AGAIN_MS, ROLLOVER_MS, LinkState
from sessions_app.call.responses import Purpose
from sessions_app.call.seed import seed_items
from sessions_app.call.state import CallState
from sessions_app.effects import ConnectModel, Effect, LeaveModel


def connect(state: CallState, at: int, *, within_ms: int = 0) -> list[Effect]:
    """Ask for a new upstream connection; what comes of the old one is not heard any more."""
    state.link.opening(at)
    return [ConnectModel(within_ms)]


def connected(state: CallState, at: int) -> list[Effect]:
    """The connection stands. It is configured once the caller's leg is there too, which must hear its first words."""
    state.link.connected, state.link.connected_at, state.link.renew_at = True, at, at + ROLLOVER_MS
    return configure(state, at) if state.life.opened else []


def configure(state: CallState, at: int) -> list[Effect]:
    state.link.state = LinkState.CONFIGURING
    state.tally.new_session()
    state.sound.new_session()
    state.functions.in_session.clear()
    return state.to_model({"type": "session.update", "session": ending.session_in_force(state)}, at)


def configured(state: CallState, at: int) -> list[Effect]:
    """The session has taken its configuration: tell it what was said, if anything was."""
    effects = turns.settle_cuts(state, at, now=True)
    asked = [update for update in state.floor.updates if update is not None]
    state.floor.updates.clear()
    for _ in asked:  # what a lost session was asked for is in force in this one
        effects += ending.session_shown(state, "session.updated", at)
    seeds = seed_items(state)
    if not seeds:
        return effects + _ready(state, at)
    state.link.state = LinkState.SEEDING
    state.functions.in_session |= set(state.functions.outputs)
    state.link.last_seed = seeds[-1].setdefault("id", state.tally.new_id("item"))
    for item in seeds:
        effects += state.to_model({"type": "conversation.item.create", "item": item}, at, seed_id=item.get("id", ""))
    return effects


def seeded(state: CallState, item_id: str, at: int) -> list[Effect]:
    """A seed was taken up, or refused. After the last one the session is ready."""
    last = state.link.state is LinkState.SEEDING and item_id == state.link.last_seed
    return _ready(state, at) if last else []


def _ready(state: CallState, at: int) -> list[Effect]:
    state.link.became_ready(at)
    return state.enter("live", at) if not state.ending else []


def go_on(state: CallState, at: int) -> list[Effect]:
    """A session is ready: say what is owed. The greeting goes first, and once."""
    effects = state.send(state.responses.session_up(), at)
    owed, state.owed = state.owed, None
    if state.ending:
        return effects
    if not state.life.greeted or owed is Purpose.GREETING:
        state.life.greeted = True
        return effects + state.say_exactly(Purpose.GREETING, state.brief.lines.greeting, at)
    if state.lost_words:
        state.lost_words = False
        return effects + turns.say_line(state, "say_again", at)
    if owed is Purpose.RECAP:
        state.functions.recap_due = True
    elif owed is Purpose.GOODBYE:
        state.functions.hang_up_due = True
    elif owed is not None:
        effects += state.ask(Purpose.ANSWER, at)
    return effects + tool_side.answer_if_ready(state, at)


def retry(state: CallState, at: int) -> list[Effect]:
    """Ask again for what a failed response was to say."""
    state.life.retry_at = None
    return go_on(state, at) if state.link.ready else []


def leave(state: CallState, at: int) -> list[Effect]:
    """Let the session go: the caller is away, and another one will do when it is back."""
    effects = [*state.note_own("upstream.left", at), *_cut(state, at)]
    state.link.left()
    return [*effects, LeaveModel()]


def lost(state: CallState, code: str, at: int) -> list[Effect]:
    """The connection is gone, or never came: try another, or give up."""
    if state.life.caller_gone:
        state.link.left()
        return _cut(state, at) + ending.close(state, at)
    if state.gone:
        return leave(state, at)
    if not state.link.connected:
        reason = "upstream" if state.link.sessions else "refused"
        return _cut(state, at) + ending.fail(state, reason, code, at)
    return renew(state, code, at)


def renew(state: CallState, code: str, at: int) -> list[Effect]:
    """The session is of no use any more; `code` says why. Begin another, or end politely when that has not helped."""
    if state.gone:
        return leave(state, at)
    effects = state.note_own("upstream.lost", at, code=code)
    waits = _somebody_waits(state)
    effects += _cut(state, at)
    again = state.link.lost(at)
    if state.ending:
        return effects
    if not again:
        return effects + ending.fail(state, "upstream", code, at)
    effects += turns.say_line(state, "one_moment", at) if waits else []
    return effects + connect(state, at, within_ms=state.link.backoff_ms)


def watch(state: CallState, at: int) -> list[Effect]:
    """Give up on a session that owes something and says nothing, and renew one that grows old."""
    link = state.link
    until = link.watch_until(response_active=state.responses.active_id is not None)
    if until is not None and until <= at and not state.ending:
        if state.gone:
            return leave(state, at)
        if link.ready:
            return renew(state, "upstream_silent", at)
        code = "configuration_timeout" if link.connected else "upstream_unreachable"
        return _cut(state, at) + ending.fail(state, "upstream", code, at)
    if not link.ready or state.ending or at < link.renew_at:
        return []
    if at - link.connected_at < LATEST_ROLLOVER_MS and not _quiet(state, at):
        link.renew_at = at + LOOK_AGAIN_MS
        return []
    return [*state.note_own("upstream.rollover", at), *_cut(state, at), *connect(state, at)]


def watch_until(state: CallState) -> int | None:
    """Return when `watch` is due at the latest."""
    if state.ending:
        return None
    silent_at = state.link.watch_until(response_active=state.responses.active_id is not None)
    times = [silent_at, state.link.renew_at if state.link.ready else None]
    return min((time for time in times if time is not None), default=None)


def _quiet(state: CallState, at: int) -> bool:
    """Whether nobody speaks, waits or works."""
    quiet_at = state.outbox.quiet_at()
    still = quiet_at is not None and quiet_at <= at and state.floor.speaking is None and state.floor.pressed_at is None
    owed = state.link.owed_since is not None or not state.responses.idle
    working = state.functions.waiting or state.functions.held is not None or state.transcript.pending()
    return still and not working and not owed


def _somebody_waits(state: CallState) -> bool:
    """Whether the caller would notice the gap: something was being said, or is owed."""
    owed = state.link.owed_since is not None or state.responses.asked or state.responses.active_id is not None
    return owed or state.floor.speaking is not None


def _cut(state: CallState, at: int) -> list[Effect]:
    """Close what ran in the session, so that nobody waits for the rest of it; note what is owed to the caller."""
    effects: list[Effect] = []
    asked, owed = state.responses.asked, state.link.owed_since is not None
    response_id = state.responses.active_id
    purpose = state.responses.session_lost()
    if response_id is not None:
        effects += _cut_response(state, response_id, at)
    state.lost_words |= state.floor.speaking is not None or state.floor.pressed_at is not None
    state.floor.speaking = state.floor.pressed_at = None
    effects += _settle_items(state, at, answered=purpose is None and not owed)
    answers = purpose is not None or (owed and not asked)
    if purpose in (Purpose.GREETING, Purpose.RECAP, Purpose.GOODBYE):
        state.owed = purpose
    elif answers and not state.functions.waiting and not state.functions.answer_due:
        state.owed = Purpose.ANSWER
    state.confirmation.session_lost()
    return effects


def _cut_response(state: CallState, response_id: str, at: int) -> list[Effect]:
    """A reply ends where it was lost. What came of it is on its way to the caller, who is told how each part ended."""
    effects: list[Effect] = []
    ids = {"response_id": response_id, "output_index": 0}
    hidden = response_id in state.responses.hidden
    output: list[dict[str, Any]] = []
    for entry in state.transcript.unfinished(response_id):
        entry.done = True
        effects += items.broke_off(state, entry, at)
        if hidden:
            continue
        body = {**items.shown_now(entry), "status": "incomplete"}
        output.append(body)
        done = {"type": "conversation.item.done", "item": body, "previous_item_id": entry.previous}
        effects += state.tell(done, at, in_order=True)
        effects += state.tell({"type": "response.output_item.done", **ids, "item": body}, at, in_order=True)
    if hidden:
        return effects
    response = {
        "object": "realtime.response",
        "id": response_id,
        "status": "cancelled",
        "status_details": {"type": "cancelled"},
        "output": output,
        "metadata": None,
    }
    return effects + state.tell({"type": "response.done", "response": response}, at, in_order=True)


def _settle_items(state: CallState, at: int, *, answered: bool) -> list[Effect]:
    """What the session had not taken up yet: typed words are kept; words that it was still to transcribe are lost."""
    effects = items.take_up_begun(state, at)
    for item_id in state.transcript.pending():
        effects += state.save(*state.transcript.fail(item_id))
        effects += tool_side.caller_answered(state, item_id, None, at)
        state.lost_words |= not answered and item_id == state.transcript.newest_caller_item
    return effects
