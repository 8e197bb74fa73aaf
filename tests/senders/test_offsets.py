"""A partition is committed up to its oldest unfinished command."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cartstream.senders.offsets import Progress


@given(st.lists(st.integers(1, 3), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_the_offset_never_passes_an_unfinished_command(gaps: list[int], random: object) -> None:
    offsets = [sum(gaps[: i + 1]) for i in range(len(gaps))]
    progress, order = Progress(), list(offsets)
    for offset in offsets:
        progress.started(offset)
    random.shuffle(order)  # type: ignore[attr-defined]
    left = set(offsets)

    for offset in order:
        progress.finished(offset)
        left.remove(offset)
        position = progress.committable()
        assert position == (min(left) if left else offsets[-1] + 1)
    assert len(progress) == 0


def test_a_position_is_told_once() -> None:
    progress = Progress()
    progress.started(5)
    progress.finished(5)

    assert progress.committable() == 6
    progress.committed(6)
    assert progress.committable() is None


def test_a_partition_without_commands_has_nothing_to_commit() -> None:
    assert Progress().committable() is None
