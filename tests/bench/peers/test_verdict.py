"""The checker finds each kind of fault."""

from __future__ import annotations

from tests.bench.peers.facts import Fact, Visit
from tests.bench.peers.reference import Expected
from tests.bench.peers.verdict import compare

VISIT = Visit(1, 2, 2, 0, 1, ())
FIRST = Fact("exit_signal", "m1", "c-1", "dev-1", 1, VISIT, None, "unknown")
SECOND = Fact("exit_signal", "m2", "c-1", "dev-1", 2, VISIT, None, "unknown")
LAST = Fact("session_ended", "dev-1:1", "c-1", "dev-1", 9, VISIT, None)
EXPECTED = Expected({FIRST.name: hash(FIRST), SECOND.name: hash(SECOND)}, {LAST.name: hash(LAST)})


def test_all_that_is_required_is_correct_with_and_without_what_is_allowed() -> None:
    assert compare([FIRST, SECOND], EXPECTED).correct
    assert compare([LAST, FIRST, SECOND], EXPECTED).correct


def test_a_missing_record_is_found() -> None:
    verdict = compare([FIRST], EXPECTED)
    assert (verdict.missing, verdict.correct) == (1, False)
    assert str(SECOND.name) in verdict.examples[0]


def test_a_record_told_twice_is_found() -> None:
    verdict = compare([FIRST, FIRST, SECOND], EXPECTED)
    assert (verdict.duplicates, verdict.correct) == (1, False)


def test_a_record_with_one_wrong_figure_is_found() -> None:
    for wrong in (SECOND._replace(visit=VISIT._replace(page_views=2)), SECOND._replace(at=3), SECOND._replace(device="dev-2")):
        verdict = compare([FIRST, wrong], EXPECTED)
        assert (verdict.wrong, verdict.missing, verdict.correct) == (1, 0, False)
    assert compare([FIRST, SECOND, LAST._replace(at=10)], EXPECTED).wrong == 1


def test_a_record_that_nothing_caused_is_found() -> None:
    verdict = compare([FIRST, SECOND, SECOND._replace(cause="m3")], EXPECTED)
    assert (verdict.extra, verdict.correct) == (1, False)


def test_records_of_a_customer_in_the_wrong_order_are_found() -> None:
    verdict = compare([SECOND, FIRST], EXPECTED)
    assert (verdict.out_of_order, verdict.correct) == (1, False)
