"""What a drill lets pass, and what it does not."""

from __future__ import annotations

from cartstream.events import avro, topics
from cartstream.events.records import Activity, Session
from tests.drills.course import Result
from tests.drills.traffic import Truth
from tests.drills.verdict import judge
from tests.drills.watch import Seen


def _start(visit: str, at: int) -> Activity:
    return Activity(f"{visit}:started", "session_started", "c_1", at, at, "phone", Session(visit, "phone", at, at, 0, 0, 0, []))


def _end(visit: str, begun: int, last: int) -> Activity:
    return Activity(f"{visit}:ended", "session_ended", "c_1", last, last, "phone", Session(visit, "phone", begun, last, 5, 0, 0, []))


def _told(*activities: Activity) -> Result:
    seen = [Seen(0, offset, 0, b"c_1", avro.codec().encode(activity), []) for offset, activity in enumerate(activities)]
    return Result(0, {topics.IDENTIFIED: [], topics.ACTIVITY: seen}, [], 0.0, 0.0)


def test_a_start_that_turned_out_to_be_the_middle_of_a_visit_may_be_told_or_not() -> None:
    once, twice = _told(_start("v1", 10), _end("v1", 10, 90)), _told(_start("v2", 50), _start("v1", 10), _end("v1", 10, 90))

    for verdict in (judge(once, twice, Truth()), judge(twice, once, Truth())):
        assert verdict.good
        assert verdict.allowed["starts_taken_back"] == 1


def test_a_start_that_is_missing_where_its_end_is_told_is_lost() -> None:
    verdict = judge(_told(_start("v1", 10), _end("v1", 10, 90)), _told(_end("v1", 10, 90)), Truth())
    assert (verdict.lost, verdict.unexpected) == (1, 0)


def test_a_start_outside_of_every_visit_is_unexpected() -> None:
    verdict = judge(_told(_start("v1", 10), _end("v1", 10, 90)), _told(_start("v1", 10), _end("v1", 10, 90), _start("v2", 500)), Truth())
    assert (verdict.lost, verdict.unexpected) == (0, 1)
