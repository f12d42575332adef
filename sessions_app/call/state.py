"""The parts that make up a call, and the few verbs that all of its rules use. Pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from sessions_app.call.arrivals import Arrivals
from sessions_app.call.brief import CallBrief
from sessions_app.call.budget import Budget
from sessions_app.call.confirmation import Confirmation
from sessions_app.call.function_calls import FunctionCalls
from sessions_app.call.link import Link, LinkState
from sessions_app.call.pace import Pace
from sessions_app.call.responses import Purpose, Request, Responses
from sessions_app.call.sound import CallerSound
from sessions_app.call.tally import SOUND_TO_CALLER, Tally
from sessions_app.call.told import Told
from sessions_app.call.transcript import Transcript
from sessions_app.dialect import said
from sessions_app.dialect.heard import error
from sessions_app.effects import Effect, ItemSaved, Record, StateChanged, ToCaller, ToModel
from sessions_app.outbox import Outbox

REMEMBERED_EVENTS = 512


@dataclass
class PendingCut:
    """An interrupted item whose heard length is being asked of the caller's page until `until`."""

    item_id: str
    heard_ms: int
    until: int


@dataclass
class Floor:
    """Whose turn it is, and how turns are taken."""

    hands_free: bool
    modalities: tuple[str, ...]  # in which the model answers
    sound_wanted: bool = True  # by the caller, which the clips of fixed lines then reach
    speaking: str | None = None  # the caller's item that is being spoken
    turn_ended_at: int | None = None  # the end of the caller's turn that no sound has answered yet
    cuts: list[PendingCut] = field(default_factory=list)
    updates: list[said.Introduce | None] = field(default_factory=list)  # session.update's that upstream owes an answer
    alarm: int | None = None  # the rule that tripped: no write after it
    alarmed_item: str | None = None
    pressed_at: int | None = None  # with push-to-talk: when the sound that is not committed yet began
    more_time: bool = False  # the caller asked for longer pauses
    own_commit: str = ""  # the newest commit of ours that the caller did not ask for, by its event id


@dataclass
class Monologue:
    """What is known of somebody who speaks on and on."""

    since: int | None = None  # when the part began that is being spoken
    asked_in: int | None = None  # the session that was asked to commit a part, and has not told of it yet
    stopped: str | None = None  # the item whose end was heard meanwhile
    parts: frozenset[str] = frozenset()  # items after which the caller spoke on


@dataclass
class Chatter:
    """What is known of turns in which nobody said anything."""

    in_a_row: int = 0
    asked: bool = False  # the caller was asked to say it again
    unsaid: str = ""  # the newest such item, which is not answered
    response_id: str = ""  # the newest answer to one, which is not heard


@dataclass
class Quiet:
    """What has been done about silence."""

    stirred_at: int = 0  # somebody said or did something last
    filled_at: int = -1  # the caller was last asked to wait
    nudges: int = 0  # how often the caller was asked whether it is there, in vain
    warned: bool = False  # that the longest call is about to end


@dataclass
class Life:
    """Where the call is between its first and its last moment."""

    state: str = "connecting"
    deadline: int = 0  # the longest call ends here, whatever is being said
    early: list[Any] = field(default_factory=list)  # what the caller said before the model was ready
    reason: str = ""
    error_code: str = ""
    code: int = 1000
    hang_up_at: int | None = None  # at the latest
    caller_gone: bool = False
    goodbye_by: int | None = None  # the model was asked for last words, and is waited for until then
    opened: bool = False  # the caller's leg was there
    greeted: bool = False  # the greeting was asked for
    failures: int = 0  # responses that failed, one after the other
    retry_at: int | None = None  # a response that failed is asked for again


@dataclass
class Away:
    """The caller's leg is gone; or it is there again, and its report of what it has heard is awaited."""

    since: int
    leave_at: int  # the model's session is let go
    until: int  # the call ends
    committed: bool = False  # the sentence in which the caller was cut off
    back_until: int | None = None  # there again: its report is awaited until then


@dataclass(frozen=True)
class Sent:
    """What an event of ours was for: an error may come back that names it."""

    type: str
    asked_by: str | None  # the caller's own event id, when the caller gave one
    item_id: str
    seed_id: str = ""  # an item that tells a new session what was said before


class CallState:
    def __init__(self, brief: CallBrief) -> None:
        self.brief = brief
        self.life = Life(deadline=brief.max_call_ms)
        self.floor = Floor(hands_free=brief.hands_free, modalities=tuple(brief.session["output_modalities"]))
        self.tally = Tally(brief.call_id)
        self.outbox = Outbox(bytes_per_ms=brief.audio.bytes_per_ms, keeps=brief.own_events)
        self.told = Told()
        self.away: Away | None = None
        self.responses = Responses()
        self.transcript = Transcript()
        self.functions = FunctionCalls(known=frozenset(brief.tools))
        self.confirmation = Confirmation()
        self.sent: OrderedDict[str, Sent] = OrderedDict()  # by event id, the newest ones
        self.sound = CallerSound(bytes_per_ms=brief.audio.bytes_per_ms)
        self.link = Link()
        self.arrivals = Arrivals(bytes_per_ms=brief.audio.bytes_per_ms)
        self.monologue = Monologue()
        self.chatter = Chatter()
        self.quiet = Quiet()
        self.budget = Budget(brief.max_call_ms)
        self.pace = Pace()
        self.owed: Purpose | None = None  # what a new session has to say first
        self.lost_words = False  # the caller's, in a session that was lost
        self.notes: list[tuple[int, str]] = []  # what the model was told by us, and after which item

    def tell(
        self, event: dict[str, Any], at: int, *, in_order: bool = False, pcm: bytes = b"", item_id: str = ""
    ) -> list[Effect]:
        """Send the caller an event; `in_order` when it belongs to a response and keeps its place there.

        To a caller who is away only those go that wait in the outbox: how all else stands it is told when it is back.
        """
        if self.gone and not in_order:
            return []
        if "event_id" not in event:
            event["event_id"] = self.tally.new_id("event")
        sent = self.outbox.push(ToCaller(event, item_id=item_id, pcm=pcm), at, in_order=in_order)
        return self.went_out(sent, at)

    def went_out(self, sent: list[ToCaller], at: int) -> list[Effect]:
        """Note what really goes to the caller now."""
        effects: list[Effect] = []
        for effect in sent:
            effects.append(effect)
            if effect.pcm:
                self.tally.counters[SOUND_TO_CALLER] += 1
                continue
            self.told.note(effect.event)
            kind = effect.event["type"]
            if self.tally.counts_only("to_caller", kind):
                self.tally.count("to_caller", kind)
            else:
                effects += self.tally.note("to_caller", kind, at, _ids(effect.event))
        return effects

    def tell_own(self, event: dict[str, Any], at: int) -> list[Effect]:
        """Send one of our own events, to a caller that understands them; it stands in the record either way."""
        if self.brief.own_events and not self.gone:
            return self.tell(event, at)
        return [*self.tally.note("own", event["type"], at)]

    def close_question(self, answer: str, at: int) -> list[Effect]:
        """Close the question that waits for a yes, if one does, and tell the caller how it ended."""
        closed = self.confirmation.end()
        if closed is None:
            return []
        return self.tell_own({"type": "frontdesk.confirm_closed", "token": closed.token, "answer": answer}, at)

    def tell_error(
        self, code: str, message: str, at: int, *, event_id: str | None = None, param: str | None = None
    ) -> list[Effect]:
        return self.tell(error(code, message, param=param, event_id=event_id), at)

    def to_model(
        self, event: dict[str, Any], at: int, *, asked_by: str | None = None, item_id: str = "", seed_id: str = ""
    ) -> list[Effect]:
        """Send the model an event. When it is refused, the caller is told by its own event id, `asked_by`.

        While no session is there it is not sent: what counts of it stands in our own record, from which the next
        session is told.
        """
        configures = self.link.state is LinkState.CONFIGURING and event["type"] == "session.update"
        if not self.link.open and not configures:
            return []
        event.setdefault("event_id", self.tally.new_id("client"))
        self.sent[event["event_id"]] = Sent(event["type"], asked_by, item_id, seed_id)
        if len(self.sent) > REMEMBERED_EVENTS:
            self.sent.popitem(last=False)
        return [ToModel(event), *self.tally.note("to_model", event["type"], at, _ids(event))]

    def ask(self, purpose: Purpose, at: int, response: dict[str, Any] | None = None) -> list[Effect]:
        """Ask the model for a response, when its turn comes."""
        return self.send(self.responses.ask(Request(purpose, self.tally.new_id("client"), response or {})), at)

    def say_exactly(self, purpose: Purpose, line: str, at: int) -> list[Effect]:
        """Have the model speak a line word for word, with no tool at hand."""
        words = line.replace('"', "'")
        return self.ask(
            purpose,
            at,
            {
                "instructions": f'Say exactly this, word for word, and nothing else: "{words}"',
                "tools": [],
                "tool_choice": "none",
            },
        )

    def send(self, requests: list[Request], at: int) -> list[Effect]:
        if requests:
            self.link.owed_since = at
        return [effect for request in requests for effect in self.to_model(request.as_event(), at)]

    def stirred(self, at: int, *, caller: bool = False) -> None:
        """Somebody said or did something: silence begins anew."""
        self.quiet.stirred_at = at
        if caller:
            self.quiet.nudges = 0

    def note_to_model(self, text: str, at: int) -> list[Effect]:
        """Tell the model something of ours. It stands in each later session too."""
        self.notes.append((self.transcript.position, text))
        item = {"type": "message", "role": "system", "content": [{"type": "input_text", "text": text}]}
        return self.to_model({"type": "conversation.item.create", "item": item}, at)

    def save(self, *facts: ItemSaved | None) -> list[Effect]:
        return [Record(fact) for fact in facts if fact is not None]

    def note_own(self, kind: str, at: int, **fields: Any) -> list[Effect]:
        return [*self.tally.note("own", kind, at, fields)]

    def enter(self, state: str, at: int) -> list[Effect]:
        if state == self.life.state:
            return []
        self.life.state = state
        return [Record(StateChanged(state, at))]

    @property
    def gone(self) -> bool:
        """Whether the caller's leg is gone, and the caller may come back."""
        return self.away is not None and self.away.back_until is None

    @property
    def ending(self) -> bool:
        return self.life.state in ("ending", "ended")


_ID_FIELDS = ("item_id", "response_id", "audio_start_ms", "audio_end_ms")


def _ids(event: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an event that may be stored: ids, positions in the sound, codes. Never words."""
    fields = {name: event[name] for name in _ID_FIELDS if event.get(name) is not None}
    for part in ("item", "response"):
        body = event.get(part)
        if isinstance(body, dict):
            fields |= {f"{part}_{name}": body[name] for name in ("id", "status", "call_id", "type") if body.get(name)}
    if isinstance(event.get("error"), dict):
        fields["code"] = event["error"].get("code")
    return fields
