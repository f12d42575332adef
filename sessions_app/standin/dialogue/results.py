"""What tools returned: envelopes read, lists put into words, a caller's choice found among them. Pure."""

import datetime
import json
import re
from dataclasses import dataclass, field

from sessions_app.standin.dialogue.values import is_opaque
from sessions_app.standin.dialogue.when import (
    ORDINALS,
    parse_date,
    parse_time,
    part_of_day,
    spoken_date,
    spoken_time,
    weekday_of,
    with_digits,
)
from sessions_app.standin.dialogue.words import YES, plain, stems, tokens

Record = dict[str, object]

READ_ALOUD = 4
"""So many of a list are read; a caller remembers no more."""

SAID_KEYS = ("say", "message", "text", "answer", "summary", "recap")
LABEL_KEYS = ("label", "spoken", "title", "starts", "start", "when", "starts_at", "time", "date", "name", "description")
DONE = "That is done."
SORRY = "I am sorry, that did not work."
FOR_THE_MODEL = re.compile(
    r"^(ask|offer|check|look|list|call|use|tell|take|say|let|do|try|confirm|find|register|read|wait)\b|\bthe caller\b",
    re.I,
)
CONFIRM = re.compile(r"confirm")
ANY_OF_THEM = re.compile(r"\b(any|either|whichever|doesn'?t matter|earliest|soonest)\b")


@dataclass
class Result:
    """One tool output."""

    tool: str
    ok: bool
    data: object
    message: str = ""
    code: str = ""
    retryable: bool = False
    arguments: Record = field(default_factory=dict)
    heard_after: int = 0
    """How many things the caller had said when it came."""
    serves: bool = False
    """It came on the way to something larger."""

    @property
    def wants_confirmation(self) -> bool:
        return not self.ok and bool(CONFIRM.search(self.code))

    def records_with(self, key: str) -> list[Record]:
        """Return the objects in the data, at any depth, that have `key`."""
        return list(_records_with(self.data, key))


def read_output(tool: str, output: str, arguments: Record, heard_after: int) -> Result:
    """Read an envelope; what is none counts as data that came back well."""
    try:
        body = json.loads(output)
    except ValueError:
        body = output
    if not isinstance(body, dict) or body.get("status") not in ("ok", "error"):
        failed = isinstance(body, dict) and "error" in body
        message = str(body["error"]) if failed and isinstance(body, dict) else ""
        return Result(tool, not failed, body, message, arguments=arguments, heard_after=heard_after)
    return Result(
        tool,
        body["status"] == "ok",
        body.get("data") if body["status"] == "ok" else {key: body[key] for key in body if key != "message"},
        message=str(body.get("message") or ""),
        code=str(body.get("error_code") or ""),
        retryable=bool(body.get("retryable")),
        arguments=arguments,
        heard_after=heard_after,
    )


def read_arguments(text: str) -> Record:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _records_with(data: object, key: str) -> list[Record]:
    found: list[Record] = []
    if isinstance(data, dict):
        if data.get(key) not in (None, "", [], {}):
            found.append(data)
        for value in data.values():
            found += _records_with(value, key)
    elif isinstance(data, list):
        for value in data:
            found += _records_with(value, key)
    return found


def spoken(result: Result) -> str:
    """Return what is said of a result."""
    if not result.ok:
        message = result.message or said_in(result.data)
        # A refusal is written for a model: what it is told to do is not read to the caller.
        told = [part for part in re.split(r"(?<=[.!?])\s+", message) if not FOR_THE_MODEL.search(part)]
        return " ".join(told) or SORRY
    return said_in(result.data) or rendered(result.data) or DONE


def said_in(data: object) -> str:
    if isinstance(data, str):
        return data.strip()
    if isinstance(data, dict):
        for key in SAID_KEYS:
            if isinstance(data.get(key), str) and data[key].strip():
                return str(data[key]).strip()
    return ""


def rendered(data: object) -> str:
    """Return data as a sentence: lists as first, second and so on; objects as their fields."""
    if isinstance(data, list):
        return _list_in_words(data)
    if isinstance(data, dict):
        lists = [value for value in data.values() if isinstance(value, list) and value]
        if lists:
            return _list_in_words(lists[0])
        if any(isinstance(value, list) for value in data.values()):
            return "I did not find any."
        fields = [
            f"{key.replace('_', ' ')}: {_in_words(value)}" for key, value in data.items() if _is_sayable(key, value)
        ]
        text = "; ".join(fields)
        return f"{text[:1].upper()}{text[1:]}." if fields else ""
    return "" if data in (None, True, False) else str(data)


def _list_in_words(values: list[object]) -> str:
    if not values:
        return "I did not find any."
    read = [label(value) for value in values[:READ_ALOUD]]
    if len(read) == 1:
        return f"I have {read[0]}."
    numbered = "; ".join(f"{ORDINALS[number]}, {words}" for number, words in enumerate(read, 1))
    return f"I have {numbered}."


def label(value: object) -> str:
    """Return the words for one entry of a list."""
    if not isinstance(value, dict):
        return _in_words(value)
    for key in LABEL_KEYS:
        if _is_sayable(key, value.get(key)):
            return _in_words(value[key])
    return ", ".join(_in_words(field) for key, field in value.items() if _is_sayable(key, field)) or "one"


def _is_sayable(key: str, value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool) and value != "" and not is_opaque(key)


def _in_words(value: object) -> str:
    moment = _moment(value)
    if moment is None:
        return str(value)
    day, time = moment
    return f"{spoken_date(day)} at {spoken_time(time)}" if time else spoken_date(day)


def _moment(value: object) -> tuple[datetime.date, datetime.time | None] | None:
    """Return the date, and the time if there is one, of an ISO string."""
    if not isinstance(value, str) or not re.match(r"\d{4}-\d\d-\d\d", value):
        return None
    try:
        moment = datetime.datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment.date(), moment.time() if len(value) > len("2026-01-01") else None


def choose(records: list[Record], text: str, *, key: str, today: datetime.date, alone: bool = True) -> object | None:
    """Return the `key` of the record that a caller means, or None. With `alone` a yes takes an only one."""
    said = plain(text)
    place = _place(said, len(records))
    if place is not None and place < len(records):
        return records[place][key]
    if by_moment := _by_moment(records, said, today):
        return by_moment[0][key]
    if ANY_OF_THEM.search(said) or (alone and len(records) == 1 and YES.search(said)):
        return records[0][key]
    if parse_date(said, today) or parse_time(said):
        return None  # another day than those on offer
    words = stems(said)
    scores = [len(words & stems(" ".join(str(value) for value in record.values()))) for record in records]
    best = max(scores, default=0)
    return records[scores.index(best)][key] if best and scores.count(best) == 1 else None


def _place(said: str, count: int) -> int | None:
    """Return the place in the list that is named: the second one, number two, the last."""
    if parse_date(said, datetime.date(2000, 1, 1)) and "one" not in tokens(said):
        return None
    if re.search(r"\blast\b", said):
        return count - 1
    if match := re.search(r"\b(?:number|option|choice) (\d+)\b", with_digits(said)):
        return int(match[1]) - 1
    match = re.search(rf"\b(?:({'|'.join(ORDINALS[1:])})|(\d+)(?:st|nd|rd|th))\b", said)
    if match is None:
        return None
    return ORDINALS.index(match[1]) - 1 if match[1] else int(match[2]) - 1


def _by_moment(records: list[Record], said: str, today: datetime.date) -> list[Record]:
    """Return the records at the date, time or part of the day that was named; none if nothing was."""
    date, time, hours, weekday = parse_date(said, today), parse_time(said), part_of_day(said), weekday_of(said)
    if date is None and time is None and hours is None:
        return []
    left = []
    for record in records:
        day, start = _moment_of(record, today)
        # A weekday said means the day of that name on offer, whichever week it is in.
        right_day = date is None or day == date or (weekday is not None and day and day.weekday() == weekday)
        right_time = time is None or (start is not None and _same_time(start, time))
        if right_day and right_time and (hours is None or (start is not None and start.hour in hours)):
            left.append(record)
    return left


def _same_time(start: datetime.time, said: datetime.time) -> bool:
    return (start.hour % 12, start.minute) == (said.hour % 12, said.minute)


def _moment_of(record: Record, today: datetime.date) -> tuple[datetime.date | None, datetime.time | None]:
    values = [value for key, value in record.items() if isinstance(value, str) and not is_opaque(key)]
    keyed = sorted(values, key=lambda value: _moment(value) is None)
    day: datetime.date | None = None
    start: datetime.time | None = None
    for value in keyed:
        moment = _moment(value)
        day = day or (moment[0] if moment else parse_date(value, today))
        start = start or ((moment[1] if moment else None) or parse_time(value))
    return day, start
