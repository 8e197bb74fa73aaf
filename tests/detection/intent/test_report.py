from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cartstream.detection.intent.reliability import plot
from cartstream.detection.intent.report import Bin, auc, calibration_error, deviation, reliability
from tests.detection.intent.models import REPORT

rows = st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.50001, 0.9]) | st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows)
def test_auc_is_the_share_of_pairs_in_the_right_order(rows: list[tuple[float, bool]]) -> None:
    left = [score for score, came in rows if came]
    bought = [score for score, came in rows if not came]
    assume(left and bought)

    right = sum(1.0 if one > other else 0.5 if one == other else 0.0 for one in left for other in bought)

    assert auc([score for score, _ in rows], [came for _, came in rows]) == pytest.approx(right / (len(left) * len(bought)))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows, st.integers(1, 12))
def test_every_row_is_in_one_bin_and_equal_scores_in_the_same(rows: list[tuple[float, bool]], bins: int) -> None:
    found = reliability([score for score, _ in rows], [came for _, came in rows], bins)

    assert sum(one.rows for one in found) == len(rows)
    assert len(found) <= bins
    assert [one.foretold for one in found] == sorted({one.foretold for one in found})
    assert sum(one.rows * one.came for one in found) == pytest.approx(sum(came for _, came in rows))


def test_the_calibration_error_weighs_each_bin_by_its_rows() -> None:
    assert calibration_error([Bin(30, 0.5, 0.4), Bin(10, 0.8, 1.0)]) == pytest.approx((30 * 0.1 + 10 * 0.2) / 40)
    assert deviation([0.7, 0.8]) == pytest.approx(0.05)


def test_the_plot_has_a_dot_for_each_bin_where_it_belongs() -> None:
    drawn = ElementTree.fromstring(plot(REPORT))

    places = [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in drawn.iter("{http://www.w3.org/2000/svg}circle")]
    assert places == [(56 + 320 * 0.25, 56 + 320.0), (56 + 320 * 0.75, 56.0)]
    assert "AUC 0.700" in "".join(drawn.itertext())
