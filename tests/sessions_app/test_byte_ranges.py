from __future__ import annotations

import pytest

from sessions_app.byte_ranges import RangeNotSatisfiable, requested_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-", range(100)),
        ("bytes=0-0", range(1)),
        ("bytes=0-1", range(2)),
        ("bytes=10-19", range(10, 20)),
        ("bytes=99-", range(99, 100)),
        ("bytes=99-99", range(99, 100)),
        ("bytes=50-99", range(50, 100)),
        ("bytes=50-100", range(50, 100)),
        ("bytes=50-9999999999999999999", range(50, 100)),
        ("bytes=-1", range(99, 100)),
        ("bytes=-100", range(100)),
        ("bytes=-101", range(100)),
        ("bytes=00-09", range(10)),
        ("Bytes= 0-9 ", range(10)),
    ],
)
def test_range_within_the_file(header: str, expected: range) -> None:
    assert requested_range(header, 100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=5000-5001", "bytes=-0"])
def test_range_beyond_the_file_is_not_satisfiable(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        requested_range(header, 100)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=9-8",
        "bytes=--1",
        "bytes=1-2-3",
        "bytes=+1-2",
        "bytes=1_0-20",
        "bytes=٣-٤",
        "bytes=0-1,4-5",
        "bytes=0-0x10",
        "items=0-5",
        "bytes=0-1\n",
        "bytes=" + "9" * 20 + "-",
    ],
)
def test_header_that_is_no_single_range_of_bytes_is_ignored(header: str) -> None:
    assert requested_range(header, 100) is None


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=-1", "bytes=0-0"])
def test_empty_file_satisfies_no_range(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        requested_range(header, 0)
