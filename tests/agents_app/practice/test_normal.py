from __future__ import annotations

from datetime import date

import pytest

from agents_app.practice.normal import name_key, phone_digits, plausible_birth_date, spoken_phone, tidy_name


@pytest.mark.parametrize(
    "written",
    [
        "(541) 555-1234",
        "541.555.1234",
        "+1 541 555 1234",
        "1-541-555-1234",
        "five four one, five five five, one two three four",
        "541 triple five 1 2 3 four",
        "541-555-1234 ext. 12",
        "(541) 555\u20131234",
    ],
)
def test_phone_written_or_spoken_is_one_number(written: str) -> None:
    assert phone_digits(written) == "15415551234"


@pytest.mark.parametrize("written", ["+44 20 7946 0958", "011 44 20 7946 0958", "0044 20 7946 0958"])
def test_phone_of_another_country_keeps_its_code(written: str) -> None:
    assert phone_digits(written) == "442079460958"


@pytest.mark.parametrize("written", ["", "12345", "+" + "1" * 16, "call me", "541-555-12ab", "'; drop table", "٣" * 10])
def test_phone_that_is_none_is_none(written: str) -> None:
    assert phone_digits(written) is None


def test_phone_is_read_out_in_groups() -> None:
    spoken = [spoken_phone(digits) for digits in ("15415551234", "442079460958", "5550100")]

    assert spoken == ["541-555-1234", "+442 079 460 958", "5 550 100"]


def test_name_key_ignores_case_accents_and_signs() -> None:
    keys = {name_key("Ana-María", "O'Brien"), name_key("ANAMARIA", "OBRIEN"), name_key("ana maria o", "brien")}

    assert keys == {"anamariaobrien"}


def test_name_key_knows_letters_that_no_accent_explains() -> None:
    assert name_key("Łukasz", "Sørensen-Strauß") == "lukaszsorensenstrauss"


def test_name_is_tidied() -> None:
    assert tidy_name("  Mary   Ann ") == "Mary Ann"


@pytest.mark.parametrize("text", ["", "  ", "1234", "Ann3", "Ann <b>", "-", "Ann\x00"])
def test_name_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="A name has letters"):
        tidy_name(text)


def test_birth_date_lies_within_a_life() -> None:
    today = date(2026, 11, 23)
    days = [date(2026, 11, 24), today, date(1990, 3, 3), date(1906, 1, 1), date(1905, 12, 31)]

    assert [plausible_birth_date(day, today=today) for day in days] == [False, True, True, True, False]
