"""Values for a tool's arguments, from the caller's words, by the argument's schema; and the question for one. Pure."""

import datetime
import re
from itertools import pairwise

from sessions_app.standin.dialogue.when import digits_of, parse_date, parse_number, parse_time
from sessions_app.standin.dialogue.words import NO, QUESTION, STOP_WORDS, YES, listed, plain, stems, tokens, topic

Schema = dict[str, object]
Value = object

MIN_PHONE_DIGITS = 7
MAX_NAME_WORDS = 5
FREE_KINDS = ("text", "name", "own words")
SAID_UNASKED = ("own words", "enum", "date", "time", "date-time", "email", "phone", "name", "birth date", "number")
"""Kinds that are known by their look, so that they may be taken from words that answered no question."""

OPTIONAL_KINDS = ("enum", "date", "time", "date-time", "email", "phone")
OPAQUE = re.compile(r"(^|_)(id|ids|token|slot|key|ref)$")
IDENTITY = re.compile(r"name|birth|dob|phone|mobile|email|address|insur|member", re.I)
LEAD_IN = re.compile(
    r"^\W*(?:(?:yes|yeah|ok|okay|sure|hi|hello|um|uh|well)\W+)*(?:my (?:full |first |last |sur)?name is|"
    r"the name is|name is|this is|it is|it's|i am|i'm|that is|that's|call me)\s+",
    re.I,
)
INTRODUCTION = re.compile(r"\b(?:my (?:full )?name is|the name is|this is|i am called)\s+", re.I)
NAME_ENDS = re.compile(r"\b(?:and|i|my|born|from|calling|speaking|here|date|please|with|for)\b|[,.;!?\d]", re.I)


def is_opaque(name: str) -> bool:
    """Tell whether an argument is one that no caller knows: an id, a token."""
    return bool(OPAQUE.search(name.lower()))


def is_identity(name: str, schema: Schema) -> bool:
    """Tell whether an argument says who the caller is, and so stays true for the whole conversation."""
    return bool(IDENTITY.search(f"{name} {schema.get('title', '')}"))


def kind_of(name: str, schema: Schema) -> str:
    """Return what is asked for: by enum, type and format, then by the words of its name and title."""
    if choices(schema):
        return "enum"
    kind, form = schema_type(schema), _format(schema)
    if kind in ("integer", "number"):
        return "number"
    if kind in ("boolean", "array"):
        return kind
    if re.search(r"\bown words\b|\bin the caller's words\b", plain(str(schema.get("description", "")))):
        return "own words"
    hint = " ".join(tokens(f"{name} {schema.get('title', '')}"))
    if form in ("email", "date-time", "time"):
        return form
    if re.search(r"birth|\bdob\b", hint):
        return "birth date"
    if form == "date" or re.search(r"\bdate\b", hint) or "YYYY-MM-DD" in str(schema.get("description", "")):
        return "date"
    for word, meant in (("email", "email"), ("phone", "phone"), ("mobile", "phone"), ("name", "name")):
        if re.search(rf"\b{word}\b", hint):
            return meant
    return "text"


def schema_type(schema: Schema) -> str:
    """Return the type, the one beside null where there are several."""
    kind = schema.get("type")
    options = schema.get("anyOf")
    if kind is None and isinstance(options, list):
        return next((str(o.get("type")) for o in options if isinstance(o, dict) and o.get("type") != "null"), "string")
    if isinstance(kind, list):
        return next((str(one) for one in kind if one != "null"), "string")
    return str(kind or "string")


def _format(schema: Schema) -> str:
    options = schema.get("anyOf")
    either = [schema, *(options if isinstance(options, list) else [])]
    return next((str(one["format"]) for one in either if isinstance(one, dict) and one.get("format")), "")


def choices(schema: Schema) -> list[object]:
    values = schema.get("enum")
    options = schema.get("anyOf")
    if values is None and isinstance(options, list):
        values = next((option["enum"] for option in options if isinstance(option, dict) and "enum" in option), None)
    return [value for value in values if value is not None] if isinstance(values, list) else []


def parse(name: str, schema: Schema, text: str, *, today: datetime.date, asked: bool) -> Value:
    """Return the value for an argument in `text`, or None. `asked`: the text answers its very question."""
    kind = kind_of(name, schema)
    if not asked and kind not in SAID_UNASKED:
        return None
    if kind == "enum":
        return _choice(choices(schema), text)
    if kind == "number":
        return _number(schema, text, asked=asked, today=today)
    if kind == "boolean":
        said = plain(text)
        return True if YES.search(said) and not NO.search(said) else False if NO.search(said) else None
    if kind == "array":
        return _array(schema, text)
    if kind in ("date", "birth date", "date-time", "time"):
        # A birthday and the day of a visit may stand in one sentence: each clause is tried by itself too.
        clauses = re.split(r"[,;.]\s+|\band\b", text)
        moments = (_moment(kind, part, today) for part in (text, *clauses, *map(", ".join, pairwise(clauses))))
        return next((moment for moment in moments if moment), None)
    if kind == "email":
        return _email(text)
    if kind == "phone":
        digits = digits_of(text)
        return digits if len(digits.lstrip("+")) >= MIN_PHONE_DIGITS else None
    if kind == "name":
        return _name(name, schema, text, asked=asked)
    if kind == "own words" and not asked:
        return topic(INTRODUCTION.sub("my name ", text))
    return text.strip() or None


def question(name: str, schema: Schema) -> str:
    """Return the question that asks for an argument."""
    title = str(schema.get("title") or "").strip() or name.replace("_", " ")
    described = str(schema.get("description") or "").strip()
    for wording in (title, described):
        if wording.endswith("?"):
            return wording
    if options := choices(schema):
        return f"Which {title[0].lower() + title[1:]}: {listed(readable(option) for option in options)}?"
    label = title if title.isupper() else title[0].lower() + title[1:]
    if schema_type(schema) == "boolean":
        return f"Yes or no: {label}?"
    if kind_of(name, schema) == "number" and label.endswith("s"):
        return f"How many {label}?"
    whose = "your" if is_identity(name, schema) or re.search(r"concern|number", label) else "the"
    return f"What is {whose} {label}?"


def readable(value: object) -> str:
    return str(value).replace("_", " ").replace("-", " ")


def _choice(options: list[object], text: str) -> object:
    said = " ".join(tokens(text))
    exact = [option for option in options if re.search(rf"\b{re.escape(readable(option).lower())}\b", said)]
    if exact:
        return max(exact, key=lambda option: len(str(option)))
    words = stems(text)
    scored = [(len(words & stems(readable(option))), option) for option in options]
    best = max((score for score, _ in scored), default=0)
    winners = [option for score, option in scored if score == best]
    return winners[0] if best and len(winners) == 1 else None


def _number(schema: Schema, text: str, *, asked: bool, today: datetime.date) -> Value:
    if not asked and (parse_date(text, today) or parse_time(text)):
        return None
    number = parse_number(text)
    if number is None:
        return None
    return int(number) if schema_type(schema) == "integer" else number


def _array(schema: Schema, text: str) -> Value:
    items = schema.get("items")
    options = choices(items) if isinstance(items, dict) else []
    if options:
        said = stems(text)
        return [option for option in options if stems(readable(option)) & said] or None
    return [part for part in re.split(r",\s*(?:and\s+)?|\s+and\s+", text.strip(" .")) if part] or None


def _moment(kind: str, text: str, today: datetime.date) -> Value:
    date, time = parse_date(text, today), parse_time(text)
    if kind == "time":
        return time.strftime("%H:%M") if time else None
    if kind == "date-time":
        return f"{date.isoformat()}T{time.strftime('%H:%M')}:00" if date and time else None
    if date is None or (kind == "birth date" and date >= today):
        return None
    if kind == "date" and date < today and date.year < today.year - 1:
        return None  # a birthday said in passing is not the day of a visit
    return date.isoformat()


def _email(text: str) -> Value:
    said = re.sub(r"\s+at\s+", "@", text.strip(), flags=re.I)
    said = re.sub(r"\s+dot\s+", ".", said, flags=re.I)
    match = re.search(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", said)
    return match[0].rstrip(".").lower() if match else None


def _name(name: str, schema: Schema, text: str, *, asked: bool) -> Value:
    introduced = INTRODUCTION.search(text)
    if not introduced and (not asked or QUESTION.search(plain(text))):
        return None
    rest = text[introduced.end() :] if introduced else LEAD_IN.sub("", text.strip())
    words = re.findall(r"[^\W\d_][\w'\u2019-]*", NAME_ENDS.split(rest, maxsplit=1)[0])
    if not words or len(words) > MAX_NAME_WORDS or (len(words) == 1 and YES.fullmatch(plain(words[0]))):
        return None
    unlikely = sum(word.lower() in STOP_WORDS for word in words)
    if words[0].lower() in STOP_WORDS - {"will"}:
        return None
    if not introduced and (unlikely > 1 or (unlikely and len(words) > MAX_NAME_WORDS - 2)):
        return None  # a sentence, not a name
    if " ".join(words).islower():
        words = [word.title() for word in words]
    hint = f"{name} {schema.get('title', '')}".lower()
    if "first" in hint or "given" in hint:
        return words[0]
    if re.search(r"last|family|surname", hint):
        return " ".join(words[1:]) or (words[0] if asked else None)
    return " ".join(words)
