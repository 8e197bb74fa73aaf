"""The model in the package, and what it was made of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cartstream.detection.intent import load_model
from cartstream.detection.intent.labelled import read
from cartstream.detection.intent.live import unknown_features
from cartstream.detection.intent.model import SHIPPED
from cartstream.detection.intent.report import auc
from tests.detection.intent import shipped

ECOM = Path(os.environ.get("CARTSTREAM_DATA", Path(__file__).resolve().parents[4] / "shared" / "data")) / "ecom.csv.gz"


def test_it_wants_nothing_that_a_live_session_does_not_tell() -> None:
    assert unknown_features(load_model(SHIPPED)) == []


def test_its_report_says_what_it_is_worth() -> None:
    report = load_model(SHIPPED).report

    assert report.auc > report.auc_of_logistic > 0.5
    assert report.calibration_error < 0.02
    assert "synthetic" in report.note


def test_it_tells_apart_the_moments_that_it_was_made_of(tmp_path: Path) -> None:
    if not ECOM.is_file():
        pytest.skip(f"{ECOM} is not there: set CARTSTREAM_DATA to the folder of the field data")
    model = load_model(SHIPPED)
    labelled = read(shipped.label(ECOM, tmp_path, most=2_500), leave_out=shipped.LEAVE_OUT)

    rows = [dict(zip(labelled.columns, values, strict=True)) for values in zip(*labelled.columns.values(), strict=True)]
    scores = [model.explain(row).probability for row in rows]

    assert {axis.name for axis in model.axes} <= set(labelled.columns)
    assert len(rows) > 300
    assert auc(scores, labelled.left) > 0.65
    assert sum(scores) / len(scores) == pytest.approx(sum(labelled.left) / len(rows), abs=0.06)
