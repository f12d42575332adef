"""Dates, times and numbers as people say them, in English. Pure: today is given."""

import datetime
import re

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS_WORDS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety"
_ORDINALS = (
    "_ first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth seventeenth eighteenth nineteenth"
)
_MONTHS = "january february march april may june july august september october november december"
_WEEKDAYS = "monday tuesday wednesday thursday friday saturday sunday"
UNITS, TENS, ORDINALS = _UNITS.split(), _TENS_WORDS.split(), _ORDINALS.split()
MONTHS, WEEKDAYS = _MONTHS.split(), _WEEKDAYS.split()
AFTERNOON_HOURS = range(1, 8)
"""An hour said without am or pm is in the afternoon when it is one of these: nobody is seen at three at night."""

_VALUE = {word: number for number, word in enumerate(UNITS)} | {"oh": 0}
_TENS = {word: 10 * number for number, word in enumerate(TENS) if word != "_"}
_ORDINAL = {word: number for number, word in enumerate(ORDINALS) if word != "_"} | {"twentieth": 20, "thirtieth": 30}
_MONTH = "|".join(f"{month[:3]}(?:{month[3:]})?" if month != "may" else "may" for month in MONTHS)
_DAY = r"(\d{1,2})(?:st|nd|rd|th)?"


def with_digits(text: str) -> str:
    """Return text with its number words as digits: `the third of may nineteen ninety` has 3rd and 1990."""
    words = re.findall(r"[a-z]+'[a-z]+|[a-z]+|\d+|[^\sa-z\d]", text.lower().replace("o'clock", "oclock"))
    out: list[str] = []
    place = 0
    while place < len(words):
        word, following = words[place], words[place + 1] if place + 1 < len(words) else ""
        if following == "-" and word in _TENS and place + 2 < len(words):
            del words[place + 1]
            following = words[place + 1]
        if word in _TENS:
            value = _TENS[word]
            if following in _VALUE and 0 < _VALUE[following] < 10:
                value, place = value + _VALUE[following], place + 1
            elif following in _ORDINAL and _ORDINAL[following] < 10:
                out.append(f"{value + _ORDINAL[following]}th")
                place += 2
                continue
            out.append(str(value))
        elif word in _VALUE:
            out.append(str(_VALUE[word]))
        elif word in _ORDINAL:
            out.append(f"{_ORDINAL[word]}th")
        else:
            out.append(word)
        place += 1
    joined = re.sub(r"(?<=\d) (?=(?:st|nd|rd|th)\b)", "", " ".join(out))
    joined = re.sub(r"(?<=\d) ([:/.-]) (?=\d)", r"\1", joined)
    joined = re.sub(r"\b(\d) thousand (?:and )?(\d{1,2})\b", lambda m: f"{m[1]}0{int(m[2]):02d}", joined)
    joined = re.sub(r"\b(\d) thousand\b", r"\g<1>000", joined)
    return re.sub(r"\b([ap]) ?\. ?m\b ?\.?", r"\1m", joined)


def parse_date(text: str, today: datetime.date) -> datetime.date | None:
    """Return the date said, or None. One without a year is the next of its kind."""
    said = with_digits(text)
    if match := re.search(r"\b(\d{4})-(\d{1,2})-(\d{1,2})\b", said):
        return _date(int(match[1]), int(match[2]), int(match[3]))
    if match := re.search(r"\b(\d{1,2})/(\d{1,2})(?:/(\d{2,4}))?\b", said):
        return _with_year(int(match[1]), int(match[2]), match[3], today)
    # A year is four digits, or two pairs as people say it: nineteen ninety.
    year = r"(?:[ ,]+(?:of |in )?(\d{4}|(?:19|20) \d{1,2}(?: \d)?))?(?!\d)"
    if match := re.search(rf"\b{_DAY}(?: of)?,? ({_MONTH})\b{year}", said):
        return _with_year(_month(match[2]), int(match[1]), match[3], today)
    if match := re.search(rf"\b({_MONTH})\.?,?(?: the)? {_DAY}\b{year}", said):
        return _with_year(_month(match[1]), int(match[2]), match[3], today)
    return _relative(said, today)


def parse_time(text: str) -> datetime.time | None:
    """Return the time of day said, or None."""
    said = with_digits(text)
    if re.search(r"\b(noon|midday)\b", said):
        return datetime.time(12)
    marked = r"\b(?:half past|quarter|at|oclock|am|pm|:)"
    if re.search(rf"\b(?:{_MONTH})\b", said) and not re.search(marked + "|:", said):
        return None
    if match := re.search(r"\bhalf past (\d{1,2})\b", said):
        return _time(int(match[1]), 30, said)
    if match := re.search(r"\bquarter past (\d{1,2})\b", said):
        return _time(int(match[1]), 15, said)
    if match := re.search(r"\bquarter to (\d{1,2})\b", said):
        return _time(int(match[1]) - 1 or 12, 45, said)
    if match := re.search(r"\b(\d{1,2}):(\d{2})\b", said) or re.search(r"(?<!\d )\b(\d{1,2}) ([0-5]\d)\b(?! \d)", said):
        return _time(int(match[1]), int(match[2]), said)
    if match := re.search(r"\b(\d{1,2}) ?(?:am|pm|oclock)\b", said) or re.search(
        r"\bat (\d{1,2})\b(?!th|st|nd|rd)", said
    ):
        return _time(int(match[1]), 0, said)
    return None


def stated_today(instructions: str, otherwise: datetime.date) -> datetime.date:
    """Return the date that the instructions call today, else the other one."""
    match = re.search(r"\btoday(?:'s date)?\b(?: is|:)?\s*([^\n.]{4,60})", instructions, re.IGNORECASE)
    return (parse_date(match[1], otherwise) if match else None) or otherwise


def part_of_day(text: str) -> range | None:
    """Return the hours of a part of the day, if one is named."""
    said = text.lower()
    if "afternoon" in said:
        return range(12, 18)
    if re.search(r"\bmorning\b", said):
        return range(0, 12)
    return range(17, 24) if re.search(r"\bevening\b", said) else None


def parse_number(text: str) -> float | None:
    match = re.search(r"-?\d+(?:\.\d+)?", with_digits(text).replace(" . ", "."))
    return float(match[0]) if match else None


def digits_of(text: str) -> str:
    """Return every digit said, spoken ones and a leading plus included."""
    said = with_digits(text)
    return ("+" if "+" in said else "") + "".join(re.findall(r"\d", said))


def weekday_of(text: str) -> int | None:
    match = re.search(r"\b(mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?s?\b", text.lower())
    if match is None or (match[0] in ("sun", "sat", "wed") and "day" not in text.lower()):
        return None
    return next(number for number, day in enumerate(WEEKDAYS) if day.startswith(match[1][:3]))


def spoken_date(date: datetime.date) -> str:
    return f"{WEEKDAYS[date.weekday()].title()}, {MONTHS[date.month - 1].title()} {date.day}"


def spoken_time(time: datetime.time) -> str:
    minutes = f":{time.minute:02d}" if time.minute else ""
    return f"{(time.hour - 1) % 12 + 1}{minutes} {'AM' if time.hour < 12 else 'PM'}"


def _relative(said: str, today: datetime.date) -> datetime.date | None:
    if "day after tomorrow" in said:
        return today + datetime.timedelta(days=2)
    if "tomorrow" in said:
        return today + datetime.timedelta(days=1)
    if re.search(r"\b(today|tonight)\b", said):
        return today
    if match := re.search(r"\bin (?:a|(\d{1,2})) (day|week)s?\b", said):
        return today + datetime.timedelta(days=int(match[1] or 1) * (7 if match[2] == "week" else 1))
    weekday = weekday_of(said)
    if weekday is not None:
        ahead = (weekday - today.weekday() - 1) % 7 + 1
        # "Next Tuesday" said on a Monday is not tomorrow, but the one in the week after.
        further = 7 if re.search(r"\bnext\b", said) and weekday > today.weekday() else 0
        return today + datetime.timedelta(days=ahead + further)
    if "next week" in said:
        return today + datetime.timedelta(days=7 - today.weekday())
    return None


def _month(word: str) -> int:
    return next(number for number, month in enumerate(MONTHS, 1) if month.startswith(word[:3]))


def _date(year: int, month: int, day: int) -> datetime.date | None:
    try:
        return datetime.date(year, month, day)
    except ValueError:
        return None


def _with_year(month: int, day: int, year: str | None, today: datetime.date) -> datetime.date | None:
    if year is None:
        date = _date(today.year, month, day)
        return date if date is None or date >= today else _date(today.year + 1, month, day)
    parts = [int(part) for part in year.split()]
    number = parts[0] if len(parts) == 1 else parts[0] * 100 + sum(parts[1:])
    if number < 100:
        number += 2000 if number <= today.year % 100 else 1900
    return _date(number, month, day)


def _time(hour: int, minute: int, said: str) -> datetime.time | None:
    afternoon = re.search(r"\bpm\b|afternoon|evening|tonight", said)
    morning = re.search(r"\bam\b|morning", said)
    if hour < 12 and (afternoon or (not morning and hour in AFTERNOON_HOURS)):
        hour += 12
    elif hour == 12 and morning:
        hour = 0
    return datetime.time(hour, minute) if hour < 24 and minute < 60 else None
