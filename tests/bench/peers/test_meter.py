"""Figures from samples, and the table of them."""

from __future__ import annotations

import os
from typing import Any

from tests.bench.peers.meter import Meter, Sample, stretch
from tests.bench.peers.table import table

SAMPLES = [
    Sample(1, 10.0, {"engine": 5.0, "broker": 2.0}, 20.0),
    Sample(1_000_001, 20.0, {"engine": 25.0, "broker": 3.0}, 45.0),
    Sample(2_000_001, 24.0, {"engine": 31.0, "broker": 4.0}, 54.0),
]


def test_a_stretch_counts_only_what_lies_in_it() -> None:
    assert stretch(SAMPLES, 0, 1_000_000) == {
        "events_per_s": 100_000,
        "cpu_s_per_million": {"engine": 20.0, "broker": 1.0},
        "cores_used_by_others": 0.4,
    }
    assert stretch(SAMPLES, 1_000_000, 2_000_001)["events_per_s"] == 250_000


def test_a_run_has_a_cold_part_only_beyond_a_million() -> None:
    meter = Meter({})
    meter.samples = SAMPLES
    figures = meter.figures()
    assert figures["cold"]["events_per_s"] == 100_000
    assert figures["warm"]["cpu_s_per_million"] == {"engine": 6.0, "broker": 1.0}
    meter.samples = SAMPLES[:2]
    meter.samples.insert(1, Sample(500_001, 15.0, {"engine": 15.0, "broker": 2.5}, 30.0))
    meter.samples[-1] = Sample(1_000_000, 20.0, {"engine": 25.0, "broker": 3.0}, 45.0)
    assert meter.figures()["cold"] is None


def test_a_process_is_metered_from_outside() -> None:
    meter = Meter({"engine": os.getpid()})
    meter.sample(0)
    while os.times().user - meter.samples[0].cpu["engine"] < 0.1:
        sum(range(10_000))
    meter.sample(1)
    spent = meter.samples[1].cpu["engine"] - meter.samples[0].cpu["engine"]
    assert 0.05 < spent <= meter.samples[1].busy - meter.samples[0].busy + 0.05
    assert meter.peak_mib["engine"] > 10


def test_the_table_holds_cartstream_against_each() -> None:
    def row(name: str, rate: int, cpu: dict[str, float], mib: dict[str, int], **check: Any) -> dict[str, Any]:
        warm = {"events_per_s": rate, "cpu_s_per_million": cpu, "cores_used_by_others": 0.06}
        about = {"name": name, "guarantee": "exactly once", "state": "there", "check": {"correct": True, **check}}
        return {**about, "warm": warm, "cold": None, "peak_mib": mib}

    lines = table(
        [
            row("stream", 50_000, {"engine": 20.0, "broker": 5.0}, {"engine": 800, "broker": 400}, correct=False),
            {"name": "other", "skipped": "no java"},
            row("cartstream", 100_000, {"engine": 8.0, "broker": 1.0, "redis": 1.0}, {"engine": 150, "broker": 400, "redis": 50}),
        ]
    ).splitlines()
    assert lines[2].endswith("| NO | 50,000 | – | 20.0 | 5.0 | – | 25.0 | 800 | 0.1 | × 2.00 | × 0.40 | × 0.25 |")
    assert lines[3].endswith("| yes | 100,000 | – | 8.0 | 1.0 | 1.0 | 10.0 | 150 + 50 | 0.1 | × 1.00 | × 1.00 | × 1.00 |")
    assert len(lines) == 4
