from __future__ import annotations

from tests.bench.medians import medians


def test_each_figure_is_the_median_of_its_runs_and_the_spread_is_of_the_first_that_differs() -> None:
    runs = [{"name": "n", "load": 5, "rate": rate, "cpu": {"broker": cpu}} for rate, cpu in ((10, 1.0), (30, 3.0), (20, 9.0))]
    assert medians(runs) == {"name": "n", "load": 5, "rate": 20, "cpu": {"broker": 3.0}, "runs": 3, "spread": {"rate": [10, 30]}}


def test_one_run_is_itself() -> None:
    assert medians([{"name": "n", "rate": 7}]) == {"name": "n", "rate": 7}
