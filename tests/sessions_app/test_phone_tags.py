from __future__ import annotations

import pytest

from sessions_app.templatetags.phone import tel


@pytest.mark.parametrize(
    ("phone", "address"),
    [
        ("+1 (541) 555-0142", "tel:+15415550142"),
        ("541 555 0142 ext. 7", "tel:5415550142;ext=7"),
        ("541 555 0142 Extension 7", "tel:5415550142;ext=7"),
        ("555 0142 x12", "tel:5550142;ext=12"),
        ("555 0142 #12", "tel:5550142;ext=12"),
        ("*21*5550142#", "tel:215550142"),  # a caller's "number" must not set up call forwarding
        ("none", ""),
        ("javascript:alert(1)", "tel:1"),
    ],
)
def test_only_a_number_can_be_dialled(phone: str, address: str) -> None:
    assert tel(phone) == address


@pytest.mark.parametrize(
    ("phone", "address"),
    [("911", "tel:911"), ("*77", "tel:*77"), ("#5#", "tel:#5#"), ("541-555-0123 ext. 4", "tel:5415550123;ext=4")],
)
def test_a_clinics_emergency_number_may_have_a_star_and_a_hash(phone: str, address: str) -> None:
    assert tel(phone, "*#") == address
