"""Words: how a caller's are compared with a tool's and with the instructions'. Plain English, no tool's name. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from sessions_app.standin.dialogue import when

_STOP = """
a about after all also am an and any anything are as at be been before but by can could did do does doing done
for from get give go had has have he hello her hers hey hi him his how i i'd i'll i'm i've if in into is it it's
its just know let like many me might more much must my need no not now of off ok okay on one only or other our
out over own please really right she should so some someone something such tell thank thanks that that's the
their them then there there's these they thing things this those to too up us use used using very want wants was
we were what what's when where which while who why will with would yes you you're your yours call caller callers
ask asks say says give gives tool returns return given must today
"""
STOP_WORDS = frozenset(_STOP.split())
SYNONYMS = (
    ("book", "schedule", "make", "reserve", "arrange"),
    ("reschedule", "move", "change", "shift", "postpone"),
    ("cancel", "delete", "drop", "remove"),
    ("slot", "availability", "available", "free"),
    ("find", "search", "look", "lookup"),
    ("register", "new", "signup", "enrol", "enroll"),
    ("message", "note", "callback"),
    ("appointment", "visit"),
    ("cost", "price", "fee", "charge"),
    ("address", "location", "located"),
)
MIN_STEM = 3
NAME_WEIGHT = 2.0
CHOICE_WEIGHT = 1.1
TOOL_THRESHOLD = 0.99
"""One word that only this tool has is enough."""

WHOLE_THRESHOLD = 0.5
"""Enough when every word of the caller's is the tool's."""

SENTENCE_THRESHOLD = 0.4
LABEL_WORDS = 4
TOPIC_WORDS = 4
_TIME = "tomorrow today tonight next week month morning afternoon evening noon am pm half past quarter oclock day"
TIME_WORDS = frozenset([*_TIME.split(), *when.WEEKDAYS, *when.MONTHS, *when.UNITS, *when.TENS, *when.ORDINALS])
POLITE = frozenset(
    ["good", "bye", "goodbye", "hear", "see", "come", "help", "hoping", "looking", "set", "name", "born"]
)
NAMED = re.compile(r"\bmy (?:full )?name(?: is|'s)? \w+(?: \w+)?(?= and\b|[,.]|$)")

YES = re.compile(
    r"\b(yes|yeah|yep|yup|correct|sure|absolutely|definitely|perfect|that'?s right|that is right|sounds good|"
    r"go ahead|please do|do it|that works|okay|ok|fine|right)\b"
)
NO = re.compile(r"\b(no|nope|not|don'?t|wrong|incorrect|change|different|another|instead|wait|stop)\b")
NEVER_MIND = re.compile(r"\b(never ?mind|forget (it|that|about it)|leave it)\b")
GOODBYE = re.compile(
    r"\b(good ?bye|bye|that'?s all|that is all|that'?s everything|that is everything|nothing else|"
    r"no,? thank(s| you)|hang up)\b"
)
THANKS = re.compile(r"\b(thanks|thank you|great|perfect)\b")
HELLO = re.compile(r"^\W*(hello|hi|hey|good (morning|afternoon|evening))\b[\w\s,]{0,12}\W*$")
QUESTION = re.compile(r"\?|^\W*(what|when|where|which|who|why|how|do|does|are|is|can|could|will)\b")
MAX_YES_WORDS = 12
SURE_WORDS = 2
"""So many words must point elsewhere before a question under way is left for them."""

OTHER_CHOICE = re.compile(r"\b(time|day|date|slot|another|other|different|later|earlier)\b")
ENDING = "end call hang up goodbye finish conversation"


def stem(word: str) -> str:
    """Return a word without its ending, roughly: booking, booked, books and book are one."""
    for suffix in ("ings", "ing", "ed", "es", "s", "ly"):
        if word.endswith(suffix) and len(word) - len(suffix) >= MIN_STEM and not word.endswith("ss"):
            word = word.removesuffix(suffix)
            break
    word = re.sub(r"ie$|y$", "i", word)
    if len(word) > MIN_STEM:
        word = word.removesuffix("e")
    return re.sub(r"([a-z])\1$", r"\1", word)


_CANONICAL = {stem(word): stem(group[0]) for group in SYNONYMS for word in group}


def plain(text: str) -> str:
    """Return text in lower case with straight quotes."""
    return text.lower().replace("\u2019", "'").replace("\u2018", "'")


def tokens(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+(?:'[a-z]+)?", plain(text).replace("_", " "))


def stems(text: str) -> set[str]:
    """Return the stems of the words that carry meaning, synonyms taken as one."""
    found = (stem(word) for word in tokens(text) if word not in STOP_WORDS)
    return {_CANONICAL.get(one, one) for one in found}


def best_tool(text: str, tools: Sequence[dict[str, object]]) -> str | None:
    """Return the name of the tool that shares most words with the caller's, or None below the threshold.

    A word that many tools share tells little, so it weighs less. Ties go to the tool that asks for least.
    """
    return matching_tool(text, tools)[0]


def matching_tool(text: str, tools: Sequence[dict[str, object]]) -> tuple[str | None, int]:
    """Return the best tool's name, and how many different words it shares."""
    said = stems(text)
    named = {str(tool["name"]): stems(str(tool["name"])) for tool in tools}
    described = {str(tool["name"]): stems(str(tool.get("description", ""))) for tool in tools}
    spread = Counter(word for name in named for word in named[name] | described[name])
    ranking = []
    for order, tool in enumerate(tools):
        name, options = str(tool["name"]), stems(" ".join(choice_words(tool)))
        shared = said & (named[name] | described[name] | options)
        score = 0.0
        for word in sorted(shared):
            weight = NAME_WEIGHT if word in named[name] else 1.0 if word in described[name] else CHOICE_WEIGHT
            score += weight * (len(tools) - max(spread[word], 1) + 1) / len(tools)
        enough = score > (WHOLE_THRESHOLD if shared == said else TOOL_THRESHOLD)
        if enough:
            ranking.append((-round(score, 6), len(required_of(tool)), order, name, len(shared)))
    ranking.sort()
    return (ranking[0][3], ranking[0][4]) if ranking else (None, 0)


def required_of(tool: dict[str, object]) -> list[str]:
    parameters = tool.get("parameters")
    required = parameters.get("required") if isinstance(parameters, dict) else None
    return [str(name) for name in required] if isinstance(required, list) else []


def properties_of(tool: dict[str, object]) -> dict[str, dict[str, object]]:
    parameters = tool.get("parameters")
    properties = parameters.get("properties") if isinstance(parameters, dict) else None
    return {str(k): v for k, v in properties.items() if isinstance(v, dict)} if isinstance(properties, dict) else {}


def choice_words(tool: dict[str, object]) -> list[str]:
    """Return the enumerated values that a tool takes."""
    choices: list[str] = []
    for schema in properties_of(tool).values():
        either = schema.get("anyOf")
        for one in [schema, *(either if isinstance(either, list) else [])]:
            values = one.get("enum") if isinstance(one, dict) else None
            choices += [str(value) for value in values] if isinstance(values, list) else []
    return choices


def topic(text: str) -> str | None:
    """Return what a request is about in the caller's own words: `cleaning` of `I would like to book a cleaning`."""
    run: list[str] = []
    for word in tokens(NAMED.sub("", plain(text))):
        if word in STOP_WORDS or word in TIME_WORDS or word[0].isdigit() or stem(word) in _CANONICAL or word in POLITE:
            if run:
                break
            continue
        run.append(word)
    return " ".join(run[:TOPIC_WORDS]) or None


def best_sentence(text: str, instructions: str) -> str | None:
    """Return the sentence of the instructions that shares most words with `text`, or None if it shares few."""
    return matching_sentence(text, instructions)[0]


def matching_sentence(text: str, instructions: str) -> tuple[str | None, int]:
    """Return the best sentence, and how many different words it shares."""
    said = stems(text)
    found = instruction_sentences(instructions)
    spread = Counter(word for sentence in found for word in stems(sentence))
    weight = {word: 1 / (1 + spread[word]) if spread[word] else 1.0 for word in said}
    total = sum(weight[word] if spread[word] else 1.0 for word in said)
    best, best_score, best_shared = None, 0.0, 0
    for sentence in found:
        shared = said & stems(sentence)
        score = sum(2 * weight[word] for word in sorted(shared)) / total if total else 0.0
        if score > best_score:
            best, best_score, best_shared = sentence, score, len(shared)
    if best is None or best_score < SENTENCE_THRESHOLD:
        return None, 0
    return spoken_part(best), best_shared


def instruction_sentences(instructions: str) -> list[str]:
    """Return the sentences of the instructions, without headings and bullets."""
    found: list[str] = []
    for line in instructions.splitlines():
        line = re.sub(r"^\s*(?:[-*\u2022]|\d+[.)])\s+", "", line).strip()
        if line and not line.startswith("#") and not line.endswith(":"):
            found += [part for part in re.split(r"(?<=[.!?])\s+(?=[A-Z\"\u201c])", line) if part]
    return found


def first_sentence(instructions: str) -> str | None:
    """Return what is said of the first sentence, if there is one."""
    found = instruction_sentences(instructions)
    return spoken_part(found[0]) if found else None


def spoken_part(sentence: str) -> str:
    """Return what is said of a line: without the label before its colon."""
    label, colon, rest = sentence.partition(": ")
    return rest.strip() if colon and rest and len(label.split()) <= LABEL_WORDS else sentence.strip()


def quoted(text: str) -> str | None:
    """Return the text between the first and the last double quote, straight or curly."""
    match = re.search(r'["\u201c](.+)["\u201d]', text, re.DOTALL)
    return match.group(1).strip() if match else None


def greeting(instructions: str) -> str | None:
    """Return the greeting that the instructions set: quoted after the word, or in a line labelled so."""
    match = re.search(r'greet[^"\u201c\n]{0,200}["\u201c]([^"\u201d]+)["\u201d]', instructions, re.IGNORECASE)
    if match:
        return match.group(1).strip()
    match = re.search(
        r"^\W*(?:your |the )?(?:greeting|opening line|first line)\W*:\s*(\S.*)$", instructions, re.I | re.M
    )
    if match:
        return match.group(1).strip().strip('"*')
    match = re.search(r"^#+\s*greeting\s*\n+\s*(\S.*)$", instructions, re.I | re.M)
    return match.group(1).strip().strip('"*') if match else None


def listed(values: Iterable[str]) -> str:
    """Return `a, b or c`."""
    *most, last = values
    return f"{', '.join(most)} or {last}" if most else last


def is_ending(tool: str) -> bool:
    """Tell whether a tool, by its name, ends the conversation."""
    return bool(stems(tool) & stems("end hang finish goodbye"))
