from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from cartstream.demo.ecom_truth import Named, agreement, replayed, visits
from cartstream.events import adapters
from cartstream.events.times import DAY, SECOND, parse_iso
from cartstream.replay.run import Replay

FILE = Path(os.environ.get("CARTSTREAM_TEST_ECOM", Path(__file__).parents[3] / "shared" / "data" / "ecom.csv.gz"))
LINES = """user_id,session_id,event,timestamp,platform
u1,a,catalog,2024-01-04 10:00:00,web
u1,a,add_to_cart,2024-01-04 10:01:00,web
u1,b,add_to_cart,2024-01-05 10:00:00,web
u1,b,purchase,2024-01-05 10:01:00,web
u2,c,add_to_cart,2024-01-05 10:00:00,ios
u2,c,purchase,2024-01-05 10:01:00,ios
u2,c,add_to_cart,2024-01-05 10:02:00,ios
"""
OWNERS = {"c1": "u1-web", "c2": "u2-ios"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ecom.csv.gz"
    path.write_bytes(gzip.compress(LINES.encode()))
    return path


def named(customer: str, at: str) -> Named:
    return Named(customer, parse_iso(at))


def test_a_session_leaves_something_if_it_adds_after_its_last_purchase(path: Path) -> None:
    assert {visit.session_id: visit.left for visit in visits(path)} == {"a": True, "b": False, "c": True}


def test_signals_that_agree_are_right(path: Path) -> None:
    found = agreement(path, [named("c1", "2024-01-04T10:01:00"), named("c2", "2024-01-05T10:02:00")], OWNERS)

    assert (found.sessions, found.precision, found.recall, found.missed, found.extra) == (3, 1.0, 1.0, [], [])


def test_a_signal_about_a_cart_that_was_bought_costs_precision_and_one_that_is_missing_recall(path: Path) -> None:
    found = agreement(path, [named("c1", "2024-01-05T10:00:00"), named("c2", "2024-01-05T10:02:00")], OWNERS)

    assert (found.precision, found.recall) == (0.5, 0.5)
    assert (found.missed, found.extra) == (["a"], ["b"])


def test_a_signal_that_lies_in_no_session_of_its_user_is_wrong(path: Path) -> None:
    stray = [named("c2", "2024-01-04T10:01:00"), named("nobody", "2024-01-04T10:01:00")]
    found = agreement(path, [named("c1", "2024-01-04T10:01:00"), *stray], OWNERS)

    assert found.homeless == stray
    assert found.precision == pytest.approx(1 / 3)


def test_a_version_moved_on_by_changes_at_the_same_time_still_lies_in_its_session(path: Path) -> None:
    at = parse_iso("2024-01-05T10:02:00")

    assert agreement(path, [Named("c2", at + SECOND)], OWNERS).found == {"c"}


needs_the_file = pytest.mark.skipif(not FILE.is_file(), reason=f"{FILE} is not here: it is not part of the project")


@needs_the_file
def test_the_real_file_has_856_sessions_of_3605_that_leave_something() -> None:
    known = visits(FILE)

    assert (len(known), sum(visit.left for visit in known)) == (3605, 856)


@needs_the_file
def test_the_real_file_replayed_signals_what_its_sessions_leave(tmp_path: Path) -> None:
    with Replay(tmp_path) as replay:
        replay.play(adapters.read(FILE), 2 * DAY)
    found = replayed(FILE, tmp_path)

    assert found.sessions == replay.counts["sessions"] == 3605
    assert (found.precision, found.recall) >= (0.98, 0.98), (found.missed, found.extra, found.homeless)
    assert found.recall >= 0.98
