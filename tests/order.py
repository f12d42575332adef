"""Orders the tests of a run, and marks those that a run on a second database would only repeat."""

from __future__ import annotations

from pathlib import Path

import pytest

# A file is run by one worker, and a long one begun last is waited for by all. The longest, longest first.
LONGEST = (
    "test_admin_pages", "test_whole_call", "test_make_run", "test_review_page", "test_drain", "test_official_client",
    "test_looks", "test_call_goes_on", "test_voice", "test_outages", "test_hostile", "test_resume",
    "test_upstream_lost", "test_bad_input", "test_killed", "test_soak", "test_upstream_unreachable",
    "test_recorder_outages", "test_operations", "test_slow_and_strange_upstream", "test_startup", "test_callers_gone",
    "test_backup", "test_callers_return",
)  # fmt: skip
RANK = {name: place for place, name in enumerate(LONGEST)}
PAGES = Path(__file__).parent / "browser"  # run against a server of their own, or look at how a page looks
ROWS = {"db", "transactional_db", "django_db_setup", "live_server"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: RANK.get(item.path.stem, len(RANK)))
    for item in items:
        if PAGES in item.path.parents or not asks_for_rows(item):
            item.add_marker("once")


def asks_for_rows(item: pytest.Item) -> bool:
    """Whether a test may use the database: pytest-django refuses it to the others."""
    fixtures = item.fixturenames if isinstance(item, pytest.Function) else ()
    return item.get_closest_marker("django_db") is not None or not ROWS.isdisjoint(fixtures)
