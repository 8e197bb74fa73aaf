from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner

from cartstream.cli import cli
from cartstream.detection.intent import load_model
from cartstream.detection.intent.labelled import Labelled, read
from cartstream.detection.intent.model import Value
from cartstream.errors import ConfigError

DATA = Path(os.environ.get("CARTSTREAM_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
SHOPPERS = DATA / "online_shoppers_intention.csv"
CODES = ("OperatingSystems", "Browser", "Region", "TrafficType")


@pytest.fixture(scope="module")
def training() -> Iterator[Any]:
    """On one thread, as `train` is: tests ask its parts too."""
    training = pytest.importorskip("cartstream.detection.intent.training", reason="needs scikit-learn: pip install cartstream[train]")
    with training.threadpool_limits(limits=1):
        yield training


def invented(rows: int = 1_500, *, groups: list[str] | None = None) -> Labelled:
    """Leaves by minutes, and by colour only on Mondays; `noise` says nothing."""
    draw = Random(1)
    columns: dict[str, list[Value]] = {"minutes": [], "colour": [], "monday": [], "noise": []}
    left = []
    for _ in range(rows):
        minutes, colour, monday = draw.random() * 10, draw.choice("rgb"), float(draw.random() < 0.5)
        values: tuple[Value, ...] = (minutes, colour, monday, draw.random())
        for name, value in zip(columns, values, strict=True):
            columns[name].append(value)
        left.append(draw.random() < (0.9 if minutes < 4 else 0.6) - (0.5 if colour == "r" and monday else 0.0))
    return Labelled("invented", columns, left, groups, {})


def test_a_model_learns_what_is_there_and_explains_it(training: Any) -> None:
    model = training.train(invented(), folds=5)

    def share(**features: Value) -> float:
        return float(model.explain({"minutes": 8.0, "noise": 0.5, **features}).probability)

    assert model.report.auc > 0.65
    assert model.report.calibration_error < 0.06
    assert share(colour="r", monday=1.0) < 0.3
    assert share(colour="r", monday=0.0) > 0.5
    assert share(colour="g", monday=1.0) > 0.5
    assert ["colour", "monday"] in [term.of for term in model.terms]


def test_the_tables_say_exactly_what_the_trees_say(training: Any) -> None:
    labelled = invented()
    axes = [training._axis(name, column) for name, column in labelled.columns.items()]
    levels = training._levels(axes, labelled, range(len(labelled.left)))
    trees = training._boosted(axes, levels, labelled.left, "pairwise", 100)

    tables = training._tables(trees, axes, levels, combinations(range(len(axes)), 2))

    rounding = 1e-4 * (len(tables.terms) + 1)
    assert abs(tables.logits(levels) - trees.decision_function(levels)).max() < rounding


def test_every_table_is_nothing_on_average_so_the_intercept_is_the_usual_shopper(training: Any) -> None:
    labelled = invented()
    tables = training.fit(labelled, range(len(labelled.left)))
    levels = training._levels(tables.axes, labelled, range(len(labelled.left)))
    singles = [term for term in tables.terms if len(term.of) == 1]

    assert singles
    for term in singles:
        place = [axis.name for axis in tables.axes].index(term.of[0])
        assert abs(sum(term.logits[level] for level in levels[:, place])) / len(levels) < 1e-3


def test_the_same_rows_and_seed_give_the_same_model(training: Any) -> None:
    assert training.train(invented(400), folds=3) == training.train(invented(400), folds=3)


def test_figures_come_from_rows_that_the_model_has_not_seen(training: Any) -> None:
    labelled = invented(600)
    draw = Random(2)
    shuffled = Labelled("by chance", labelled.columns, [draw.random() < 0.7 for _ in labelled.left], None, {})

    assert 0.4 < training.train(shuffled, folds=5).report.auc < 0.6


def test_rows_of_one_customer_are_never_torn_apart(training: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    labelled = invented(600, groups=[str(row % 40) for row in range(600)])
    groups, seen = labelled.groups or [], []
    whole = training.fit

    def noted(labelled: Labelled, rows: Any, pairs: int) -> Any:
        seen.append({groups[row] for row in rows})
        return whole(labelled, rows, pairs)

    monkeypatch.setattr(training, "fit", noted)
    training.train(labelled, folds=4)

    assert [len(names) for names in seen] == [30, 30, 30, 30, 40]


def test_too_few_of_a_kind_is_said(training: Any) -> None:
    few = Labelled("few", {"minutes": [1.0, 2.0, 3.0]}, [True, True, False], None, {})

    with pytest.raises(ConfigError, match="few: 1 bought, 2 did not; 10 folds need 10 of each"):
        training.train(few)


def test_the_command_writes_the_model_and_its_plot(training: Any, tmp_path: Path) -> None:
    labelled = invented(400)
    rows = zip(labelled.columns["minutes"], labelled.columns["monday"], labelled.left, strict=True)
    source = tmp_path / "labelled.csv"
    source.write_text("minutes,monday,bought\n" + "".join(f"{minutes},{monday},{not left}\n" for minutes, monday, left in rows))
    output = tmp_path / "model.json"
    words = ["detection", "train", "--input", str(source), "--output", str(output), "--folds", "3", "--threshold", "0.8"]

    answer = CliRunner().invoke(cli, words, catch_exceptions=False)

    assert answer.exit_code == 0
    assert "AUC" in answer.output
    assert load_model(str(output)).threshold == 0.8
    assert output.with_suffix(".svg").read_text().startswith("<svg")


@pytest.mark.timeout(600)
def test_field_sessions_are_told_apart_without_the_columns_that_leak(training: Any) -> None:
    if not SHOPPERS.is_file():
        pytest.skip(f"{SHOPPERS} is not there: set CARTSTREAM_DATA to the folder of the field data")
    model = training.train(read(SHOPPERS, categories=CODES), folds=5)
    report = model.report

    assert {"PageValues", "ExitRates", "BounceRates"} == set(report.left_out)
    assert {"PageValues", "ExitRates", "BounceRates"}.isdisjoint(axis.name for axis in model.axes)
    assert (report.rows, report.left, report.folds) == (12_330, 10_422, 5)
    assert report.auc >= 0.75
    assert report.auc > report.auc_of_logistic
    assert report.calibration_error < 0.02
