"""The table of faults is whole, and each test that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent.parent
FAULTS = 48


def test_every_fault_has_its_row_and_every_test_in_it_exists():
    rows = [line for line in (TESTS / "faults" / "README.md").read_text().splitlines() if line.startswith("| ")]
    named = {name for row in rows for name in re.findall(r"`([\w/]*test_\w+)`", row)}

    assert [row[2:5] for row in rows if row[2] == "R"] == [f"R{number:02}" for number in range(1, FAULTS + 1)]
    assert [name for name in sorted(named) if not (TESTS / f"{name}.py").exists()] == []
    assert len(named) > 30


def test_every_row_names_a_test_or_says_why_none():
    rows = re.findall(r"^\| (R\d\d) \|[^|]*\|(.*)\|$", (TESTS / "faults" / "README.md").read_text(), re.MULTILINE)

    assert [fault for fault, shown in rows if "test_" not in shown and "does not apply" not in shown] == []
