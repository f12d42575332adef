"""The yes that a write needs, and that the model cannot give. Pure.

A recap is read out in one response without tools, whose transcript must hold every value. Yes is the button, or what
the caller said in words begun after the recap had been heard to its end; late, failed, or unclear is no yes. The same
values then run once. Source: the project's contract, "A write needs a yes that the model cannot give".
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

TRANSCRIPT_WAIT_MS = 3000
MAX_RECAPS = 2  # said once more when a value was missing; then a task is left
HEARD_SLACK_MS = 250  # a page reports every fifth of a second
YES_LASTS_MS = 30_000  # for the model to act on it


BUTTON = "button"


class Verdict(StrEnum):
    YES = "yes"
    CHANGE = "change"
    UNCLEAR = "unclear"


class Decision(StrEnum):
    RUN = "run"
    WAIT = "wait"  # the caller has answered, and the words are still being transcribed
    ASK = "ask"


@dataclass
class Pending:
    token: str
    name: str  # of the tool
    digest: str  # of the values
    question: str
    spoken: tuple[str, ...]
    lines: tuple[tuple[str, str], ...] = ()
    recaps: int = 0
    response_id: str = ""
    item_id: str = ""
    held_all: bool = False  # the spoken recap held every value
    heard_at: int | None = None
    closed: bool = False  # the receptionist has spoken of something else since
    answers: dict[str, str | None] = field(default_factory=dict)  # the caller's items since; None: words awaited
    verdict: Verdict | None = None
    by: str = ""
    given_at: int = 0  # when the verdict was
    acted_in: str = ""  # the response that began after the yes: it acts on it, or the yes lapses

    def as_shown(self) -> dict[str, Any]:
        """Return the question as the caller's page shows it."""
        lines = [list(line) for line in self.lines]
        return {"type": "frontdesk.confirm", "token": self.token, "question": self.question, "lines": lines}

    @property
    def awaited(self) -> bool:
        return None in self.answers.values()


class Confirmation:
    def __init__(self) -> None:
        self.pending: Pending | None = None

    def begin(self, pending: Pending) -> None:
        self.pending = pending

    def end(self) -> Pending | None:
        ended, self.pending = self.pending, None
        return ended

    def decide(self, name: str, digest: str, at: int) -> Decision:
        """What may be done about a write with these values, now."""
        pending = self.pending
        if pending is None or (pending.name, pending.digest) != (name, digest):
            return Decision.ASK
        if pending.awaited and pending.verdict in (None, Verdict.YES):
            return Decision.WAIT  # the answer, or what may take it back, is still being transcribed
        fresh = at - pending.given_at <= YES_LASTS_MS
        return Decision.RUN if pending.verdict is Verdict.YES and fresh else Decision.ASK

    def recap_begun(self, response_id: str) -> None:
        if self.pending is not None:
            self.pending.response_id, self.pending.closed = response_id, False
            self.pending.recaps += 1

    def recap_said(self, transcript: str) -> bool:
        """Return whether the spoken recap held every value."""
        assert self.pending is not None
        self.pending.held_all = all(holds(transcript, piece) for piece in self.pending.spoken)
        return self.pending.held_all

    def recap_heard(self, at: int) -> None:
        """The recap has been heard to its end."""
        if self.pending is not None and self.pending.held_all and self.pending.heard_at is None:
            self.pending.heard_at = at

    def agent_spoke(self, response_id: str) -> None:
        """The receptionist said something else: a later yes would be a yes to that."""
        pending = self.pending
        if pending is not None and pending.response_id and response_id != pending.response_id:
            pending.closed = True

    def caller_began(self, item_id: str, at: int) -> None:
        """The caller began to say or type something. It counts when the recap had been heard before.

        After a yes everything counts: what is said until the write runs may take the yes back.
        """
        pending = self.pending
        if pending is None:
            return
        answers = pending.heard_at is not None and at >= pending.heard_at and not pending.closed
        if answers or pending.verdict is Verdict.YES:
            pending.answers.setdefault(item_id, None)

    def caller_said(self, item_id: str, text: str | None, at: int) -> None:
        """The words of an answer are known, "" when it has none; None when they never will be. Judged as one."""
        pending = self.pending
        if pending is None or item_id not in pending.answers or pending.verdict not in (None, Verdict.YES):
            return
        if text == "":  # a cough: nobody said anything
            del pending.answers[item_id]
            if not pending.answers:
                return
        else:
            pending.answers[item_id] = text or ""
        words = " ".join(answer for answer in pending.answers.values() if answer)
        if pending.by == BUTTON:
            words = f"yes {words}"
        verdict = judge(words, verb=pending.name.split("_")[0])
        if verdict is Verdict.CHANGE or not pending.awaited:
            first = pending.verdict is None
            pending.verdict = verdict
            pending.by, pending.given_at = (item_id, at) if first else (pending.by, pending.given_at)

    def button(self, token: str, verdict: Verdict, at: int) -> bool:
        """Return whether the button belonged to the question that is open."""
        pending = self.pending
        if pending is None or pending.token != token:
            return False
        pending.verdict, pending.by, pending.given_at = verdict, BUTTON, at
        return True

    def stop_waiting(self) -> None:
        """The transcript did not come in time: no yes, whatever was said before it."""
        if self.pending is not None and self.pending.awaited:
            self.pending.verdict = Verdict.UNCLEAR

    def response_begun(self, response_id: str) -> None:
        """A response begins: the first one after a yes is the one that acts on it."""
        pending = self.pending
        if pending is not None and pending.verdict is Verdict.YES and not pending.acted_in:
            pending.acted_in = response_id

    def session_lost(self) -> None:
        """The response that read the recap out, or acted on the yes, is gone: the next one may."""
        pending = self.pending
        if pending is None:
            return
        pending.acted_in = ""
        if pending.response_id and not pending.held_all:
            pending.recaps -= 1

    def lapses(self, response_id: str) -> bool:
        """Whether the model has let a yes pass: the response that should have acted on it is over."""
        pending = self.pending
        return pending is not None and pending.acted_in == response_id


def _words(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKD", text.casefold())
    folded = "".join(char for char in folded if not unicodedata.combining(char))
    folded = re.sub(r"['’`]", "", folded)  # noqa: RUF001 - a typographic apostrophe is what models write
    folded = re.sub(r"\b([ap])\.\s?m\b\.?", r"\1m", folded)  # 10:00 a.m. is 10:00 am
    folded = re.sub(r"(\d)\s*([ap]m)\b", r"\1 \2", folded)
    folded = re.sub(r"\b(\d{1,2}):00\b", r"\1", folded)  # ten o'clock has many spellings
    return re.findall(r"\d+:\d+|\w+", folded)


_YES = frozenset(
    _words("yes yeah yep yup sure correct right okay ok absolutely definitely perfect certainly exactly confirmed")
)
_YES_PHRASES = ("go ahead", "please do", "sounds good", "that works", "do it")
_NO = frozenset(_words("no nope nah not dont never wrong stop wait hold"))
_CHANGE = frozenset(_words("change cancel different instead another actually rather other move"))
# How a question begins: "shall I go ahead?" is what the receptionist said, or its echo.
_ASKING = frozenset(
    _words("shall should would could can will may does did is are was what when which where who why how")
)
# Words that say neither: "yes please, that is fine, thank you".
_FILLER = frozenset(
    _words(
        "please thank thanks you that is thats it the a i am im uh um oh well and so great good fine lovely very much "
        "do for me go ahead sounds works this would like to of course all with we can"
    )
)
MAX_YES_WORDS = 16  # a longer answer says more than yes


def judge(text: str, *, verb: str = "") -> Verdict:
    """Return what an answer to "Shall I go ahead?" means. Anything but a plain yes is no yes.

    A refusing word anywhere wins; `verb` is what was asked about, which refuses nothing ("yes, cancel it"). Other
    content makes a yes unclear ("yes, at eleven"): it may be another value than the one that was read out.
    """
    words = _words(text)
    if not words or words[0] in _ASKING:
        return Verdict.UNCLEAR
    if any(word in _NO or (word in _CHANGE and word != verb) for word in words):
        return Verdict.CHANGE
    joined = " ".join(words)
    agrees = any(word in _YES for word in words) or any(phrase in joined for phrase in _YES_PHRASES)
    plain = all(word in _YES or word in _FILLER or word == verb for word in words) and len(words) <= MAX_YES_WORDS
    return Verdict.YES if agrees and plain else Verdict.UNCLEAR


def holds(transcript: str, piece: str) -> bool:
    """Whether the spoken `transcript` holds `piece`, whatever its case, accents and punctuation."""
    return f" {' '.join(_words(piece))} " in f" {' '.join(_words(transcript))} "
