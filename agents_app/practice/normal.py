"""Pure: names, phone numbers and birth dates brought to one form, so that what is spoken finds what is stored.

Knows no database and no clock.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import date

PHONE_DIGITS_MIN = 7
PHONE_DIGITS_MAX = 15  # E.164
OLDEST_YEARS = 120
_NORTH_AMERICA = "1"
_NATIONAL_DIGITS = 10

_DIGIT_WORDS = {
    "zero": "0", "oh": "0", "o": "0", "one": "1", "two": "2", "three": "3", "four": "4",
    "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
}  # fmt: skip
_TIMES = {"double": 2, "triple": 3}
_EXTENSION = re.compile(r"\s*(?:x|ext\.?|extension)\s*\d+\s*$", re.IGNORECASE)
_PHONE_SHAPE = re.compile(r"\+?[\d\s().\-/\u2010-\u2015\u00a0]+")

# Letters that stand for themselves in Unicode, so that taking accents off leaves them as they are.
_PLAIN_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "\u0131": "i"})


def plain(text: str) -> str:
    """Return `text` without case and accents."""
    decomposed = unicodedata.normalize("NFKD", text).casefold().translate(_PLAIN_LETTERS)
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def name_key(*names: str) -> str:
    """Return the letters of the names: "Ana-María O'Brien" and "anamaria obrien" are the same person's name."""
    return "".join(letter for letter in plain("".join(names)) if letter.isalpha())[:160]


def tidy_name(text: str) -> str:
    """Return a name with single blanks. Raises ValueError when it is no name: no letter, a digit, a sign."""
    name = " ".join(text.split())
    if not any(letter.isalpha() for letter in name):
        raise ValueError("A name has letters")
    if any(not (letter.isalpha() or unicodedata.combining(letter) or letter in " .'\u2019`-") for letter in name):
        raise ValueError("A name has letters, blanks, hyphens and apostrophes only")
    return name


def phone_digits(text: str) -> str | None:
    """Return the number as E.164 has it, without the plus; None when it is no phone number.

    Ten digits without a country code are North American. Digits may be words: "five four one, double five".
    """
    written = _EXTENSION.sub("", _digits_of_words(text.strip()))
    if not _PHONE_SHAPE.fullmatch(written):
        return None
    digits = "".join(sign for sign in written if sign in "0123456789")
    if not written.lstrip().startswith("+"):
        digits = _with_country(digits)
    return digits if PHONE_DIGITS_MIN <= len(digits) <= PHONE_DIGITS_MAX else None


def _with_country(digits: str) -> str:
    for dialled_abroad in ("011", "00"):
        if digits.startswith(dialled_abroad):
            return digits.removeprefix(dialled_abroad)
    return _NORTH_AMERICA + digits if len(digits) == _NATIONAL_DIGITS else digits


def _digits_of_words(text: str) -> str:
    if not any(letter.isalpha() for letter in text):
        return text
    out: list[str] = []
    times = 1
    for word in re.findall(r"[A-Za-z]+\.?|[^A-Za-z]+", text.replace(",", " ")):
        bare = word.strip(". ").lower()
        if bare in _TIMES:
            times = _TIMES[bare]
        elif bare in _DIGIT_WORDS:
            out.append(_DIGIT_WORDS[bare] * times)
            times = 1
        elif bare == "plus":
            out.append("+")
        else:
            out.append(word if not word.isspace() else " ")
    # "plus forty four" is beyond this: the caller is asked again.
    return "".join(out).replace("+ ", "+").strip()


def spoken_phone(digits: str) -> str:
    """Return the number as it is read out: groups that a listener can follow."""
    if len(digits) == _NATIONAL_DIGITS + 1 and digits.startswith(_NORTH_AMERICA):
        return f"{digits[1:4]}-{digits[4:7]}-{digits[7:]}"
    groups = [digits[max(0, end - 3) : end] for end in range(len(digits), 0, -3)]
    return "+" + " ".join(reversed(groups)) if len(digits) > _NATIONAL_DIGITS else " ".join(reversed(groups))


def plausible_birth_date(born: date, *, today: date) -> bool:
    """Whether somebody alive today may be born on that day."""
    return born <= today and today.year - born.year <= OLDEST_YEARS
