"""Detection against the simulator's truth, and the table of it in the documentation."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from pathlib import Path

import pytest

from cartstream.demo.signal_promises import KINDS, Said
from tests.detection.truth import SEEDS, Measured, crowd, judge, measured, table

PAGE = Path(__file__).parents[2] / "docs" / "detection.md"


@lru_cache(maxsize=1)
def result() -> Measured:
    return measured()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", KINDS)
def test_of_what_is_promised_and_of_what_is_said_99_in_100_are_right(kind: str) -> None:
    score = result().reached[kind]

    assert score.right + score.missed >= 100
    assert (score.precision >= 0.99, score.recall >= 0.99) == (True, True), score


@pytest.mark.timeout(300)
def test_the_documentation_has_the_table_that_the_program_makes() -> None:
    assert table(result()) in PAGE.read_text()


def test_what_is_missed_and_what_is_said_too_much_counts() -> None:
    one, another, third = Said(1, "cart_abandoned", 5), Said(1, "cart_abandoned", 6), Said(2, "cart_abandoned", 5)

    score = judge([one, one, another], [one, third])["cart_abandoned"]

    assert (score.right, score.extra, score.missed) == (1, 1, 2)
    assert (score.precision, score.recall) == (0.5, 1 / 3)


def test_events_come_out_of_order_twice_and_without_ids() -> None:
    people = crowd(SEEDS[0])
    clicks = [arrival for arrival in people.arrivals if arrival.number >= 0]
    copies = Counter(arrival.value for arrival in clicks)
    stories = {story.person.number for story in people.stories}

    assert sum(copies.values()) > 1.05 * len(copies)
    assert [arrival.number for arrival in clicks] != sorted(arrival.number for arrival in clicks)
    assert sum(b'"messageId"' not in value for value in copies) > 0.05 * len(copies)
    assert any("-again" in cookie for cookie in people.owners)
    assert 0 < len(people.unreached) < 0.05 * len(stories)
