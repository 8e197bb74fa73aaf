"""Offsets move on over what nobody reads, and never over a record that is not counted yet."""

from __future__ import annotations

import pytest

from cartstream.insights.read_committed import settled


@pytest.mark.parametrize(
    ("acked", "gaps", "committed", "count"),
    [
        ([], {}, 10, 0),
        ([10, 11, 12], {}, 10, 3),
        ([10, 12, 14], {12: 11, 14: 13}, 10, 3),
        ([10, 12, 15], {12: 11, 15: 14}, 10, 2),  # 13 is not counted yet
        ([10, 13], {}, 10, 1),
        ([12], {}, 10, 0),
        ([11], {}, 10, 1),  # behind a marker that Faust leaves out
        ([13], {13: 11}, 10, 1),
        ([0, 3, 5], {5: 4}, None, 3),  # no gap is told behind offset 0
        ([3, 5], {5: 4}, 1, 2),
        ([7, 8], {}, None, 2),  # the first that retention has left
    ],
)
def test_what_is_settled_misses_no_record(acked: list[int], gaps: dict[int, int], committed: int | None, count: int) -> None:
    assert settled(acked, gaps, committed) == count
