"""The recogniser's grammar: what callers of any front desk say, with a session's own verbs and things. Pure.

It is closed: it would turn every sound into one of its sentences. So its result counts only where the open model
heard nearly the same, and never where the open model heard a word of alarm.
"""

from collections.abc import Callable, Iterable


def _words(text: str) -> list[str]:
    return text.split()


UNITS = _words("one two three four five six seven eight nine")
HOURS = [*UNITS, "ten", "eleven", "twelve"]
TEENS = _words("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen")
TENS = _words("twenty thirty forty fifty sixty seventy eighty ninety")
ORDINALS = _words(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth "
    "fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth thirtieth"
)
MONTHS = _words("january february march april may june july august september october november december")
WEEKDAYS = _words("monday tuesday wednesday thursday friday saturday sunday")
FIRST_NAMES = _words(
    "jane john sam mary anna david michael sarah james robert linda susan peter paul laura emma kate mark "
    "alice karen nancy daniel thomas george helen maria rose tom ben lucy grace henry jack julia oliver "
    "emily"
)
LAST_NAMES = _words(
    "doe smith jones brown taylor miller wilson davis white green hall king wright hill baker carter "
    "parker cook morgan bell murphy bailey cooper ward price bennett gray foster long ross fisher west "
    "stone hunt"
)
ALARM = frozenset(
    _words(
        "allergic ambulance bleed bleeding blood breathe breathing chest choking dying emergency fainted "
        "heart help hurt hurts kill pain stroke suicide swell swelling swollen unconscious urgent"
    )
)
DANGLING = frozenset(_words("a an and at by for from i in my next of on or that the this to with"))
"""A sentence of the grammar that ends with one of these broke off."""

SENTENCES = (
    "yes | yes please | yes that's right | yes that is right | yes go ahead | that's right | correct | please do | "
    "go ahead | sure | no | no thank you | no thanks | no that's wrong | never mind | okay",
    "hello | good morning | good afternoon | thank you | thanks | thank you very much | goodbye | bye | that's all | "
    "that is all | that's all thank you | nothing else",
    "i have chest pain | i have a chest pain | i can't breathe | i have trouble breathing | i am bleeding | "
    "my face is swollen | this is an emergency | it hurts",
    "i am a new patient | i'm a new patient | i am new | i am new here",
    "what are your hours | what are your opening hours | when are you open | where are you | what time is it | "
    "what is your address | do you have parking | where can i park",
    "i want to talk to a person | i want to leave a message | can i leave a message | please call me back",
    "[<lead>] <verb> [a | an | my] <thing> [<when>]",
    "i (need | want | would like) [a | an] <thing> [<when>]",
    "[a | an | for a] <thing> [please]",
    "[i would like | i'll take | let's take] the (<ordinal> | last) [one] [please]",
    "[on | at | for] <when> [please]",
    "[my name is | this is | i am | it's] <first> <last>",
    "<first> | <last>",
    "[i was born | born] [on] [the] <date> <year>",
    "<digit> <digit> <digit> <digit> <digit> <digit> <digit> [<digit> <digit> <digit>]",
    "[a | another | a different] (time | day) [please]",
)


def jsgf(verbs: Iterable[str], things: Iterable[str], *, knows: Callable[[str], bool]) -> str:
    """Return the grammar, of the words that the dictionary `knows` alone: one it does not know would break it all."""
    rules = {
        "lead": ["i would like to", "i'd like to", "i want to", "i need to", "can i", "could i", "please"],
        "verb": [*verbs, "make", "move", "change", "schedule"],
        "thing": [*things, "appointment"],
        "ordinal": ORDINALS,
        "month": MONTHS,
        "weekday": WEEKDAYS,
        "first": FIRST_NAMES,
        "last": LAST_NAMES,
        "digit": ["zero", "oh", *UNITS],
        "unit": UNITS,
        "hour": HOURS,
    }
    lines = [f"<{name}> = {_alternatives(words, knows)};" for name, words in rules.items()]
    lines += [
        "<day_number> = <ordinal> | twenty <ordinal> | thirty first;",
        "<date> = <month> [the] <day_number> | <day_number> of <month>;",
        f"<year> = nineteen {_either(TENS)} [<unit>] | nineteen oh <unit> | two thousand [[and] <unit>] "
        f"| twenty {_either(TEENS)} | twenty twenty [<unit>];",
        "<half> = a m | p m | in the morning | in the afternoon;",
        "<time> = <hour> [thirty | fifteen | forty five] [<half>] | half past <hour> | noon;",
        "<day> = [next | this] <weekday> [morning | afternoon] | tomorrow [morning | afternoon] | today | next week "
        "| [the] <date>;",
        "<when> = [on] <day> [at <time>] | [at] <time> [on <day>];",
    ]
    sentences = " | ".join(f"({sentence})" for sentence in SENTENCES)
    return "\n".join(["#JSGF V1.0;", "grammar caller;", f"public <sentence> = {sentences};", *lines])


def settled(closed: str, opened: str) -> str:
    """Return which of two hearings of the same sound to believe: the grammar's, or the open model's.

    The grammar's, if it differs from the other in at most half of its words. The raw scores do not tell them apart.
    """
    grammar_words, open_words = closed.split(), opened.split()
    while grammar_words and grammar_words[-1] in DANGLING:
        grammar_words.pop()
    if not grammar_words:
        return opened
    if (ALARM & set(open_words)) - set(grammar_words):
        return opened  # an emergency must not be hidden by a sentence that happens to be near
    near = _distance(grammar_words, open_words) * 2 <= len(grammar_words)
    return " ".join(grammar_words) if near else opened


def _alternatives(phrases: Iterable[str], knows: Callable[[str], bool]) -> str:
    return _either(phrase for phrase in dict.fromkeys(phrases) if all(knows(word) for word in phrase.split()))


def _either(phrases: Iterable[str]) -> str:
    return "(" + " | ".join(phrases) + ")"


def _distance(one: list[str], other: list[str]) -> int:
    """Return how many words must be put in, left out or replaced."""
    row = list(range(len(other) + 1))
    for place, word in enumerate(one, 1):
        before, row[0] = row[0], place
        for column, said in enumerate(other, 1):
            before, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, before + (word != said))
    return row[-1]
