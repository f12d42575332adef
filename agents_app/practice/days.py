"""Pure: the dates that "tomorrow" and "next Tuesday" mean, worked out so that a model need not.

The rule: a bare weekday and "next <weekday>" are both the first such day after today. On a Monday, "next Tuesday" is
tomorrow; on a Tuesday it is a week from today.
"""

from __future__ import annotations

from datetime import date, timedelta


def upcoming_weekdays(today: date) -> list[date]:
    """Return the next seven days after `today`: each weekday once."""
    return [today + timedelta(days=ahead) for ahead in range(1, 8)]
