"""`cartstream detection`: label recorded sessions, and train the model that scores exits."""

from __future__ import annotations

import csv
from importlib.util import find_spec
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from cartstream.detection.intent.model import IntentModel
from cartstream.errors import ConfigError


@click.group()
def detection() -> None:
    """Label recorded sessions, and train the model that scores exits."""


@detection.command()
@click.option("--input", "source", required=True, type=click.Path(path_type=Path), help="activity.jsonl of `cartstream replay run`")
@click.option("--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="the CSV to write, for `train`")
def label(source: Path, output: Path) -> None:
    """What was known at each recorded exit hint, and whether the shopper then bought."""
    from cartstream.detection.intent.labelled import GROUP, LABELS
    from cartstream.detection.intent.labelling import Labelling, activities
    from cartstream.detection.intent.live import LIVE
    from cartstream.detection.settings import DetectionSettings
    from cartstream.runtime.settings import load

    labelling = Labelling(load(DetectionSettings))
    rows = 0
    try:
        with source.open("rb") as lines, output.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([GROUP, *LIVE, LABELS[0]])
            for activity in activities(lines, str(source)):
                for moment in labelling.take(activity):
                    writer.writerow([moment.customer_id, *(moment.features[name] for name in LIVE), str(moment.bought).lower()])
                    rows += 1
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from error
    click.echo(f"{rows:,} exits labelled; {labelling.passed_over:,} passed over, {labelling.unfinished:,} without the end of their session")


@detection.command()
@click.option("--input", "source", required=True, type=click.Path(path_type=Path), help="CSV of labelled sessions, gzipped or not")
@click.option(
    "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="the model to write; its plot goes beside it"
)
@click.option("--label", "named", help="column that says who bought (true or false); bought or Revenue if left out")
@click.option("--category", multiple=True, help="a column of numbers that are mere names; may be given again")
@click.option("--leave-out", multiple=True, help="a column not to use; may be given again")
@click.option("--folds", default=10, show_default=True, type=click.IntRange(2, 100), help="of the cross-validation")
@click.option("--seed", default=0, show_default=True, help="which rows come into which fold")
@click.option("--pairs", default=12, show_default=True, type=click.IntRange(0, 100), help="most pairs of features that get a table")
@click.option(
    "--threshold", type=click.FloatRange(0, 1), help="least probability of leaving that is an exit intent; the most telling if left out"
)
@click.option("--note", default="", help="what readers of the report should know")
def train(
    source: Path,
    output: Path,
    named: str | None,
    category: tuple[str, ...],
    leave_out: tuple[str, ...],
    folds: int,
    seed: int,
    pairs: int,
    threshold: float | None,
    note: str,
) -> None:
    """Train and cross-validate a model; its report is in its file."""
    if find_spec("sklearn") is None:
        raise ConfigError("training needs scikit-learn: pip install 'cartstream[train]'")
    from cartstream.detection.intent.labelled import read
    from cartstream.detection.intent.training import train as trained

    model = trained(read(source, named, category, leave_out), folds=folds, seed=seed, pairs=pairs, threshold=threshold, note=note)
    write(model, output)
    Console().print(_table(model))


def write(model: IntentModel, output: Path) -> None:
    """The model, a line a table, and its reliability plot beside it as .svg."""
    from cartstream.detection.intent.reliability import plot

    try:
        output.write_bytes(encode(model))
        output.with_suffix(".svg").write_text(plot(model.report))
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from error


def encode(model: IntentModel) -> bytes:
    """JSON in which every axis and every table is one line, so that two models can be compared line by line."""
    encode_json = msgspec.json.encode
    body = []
    for name in model.__struct_fields__:
        value = getattr(model, name)
        if isinstance(value, list):
            lines = b",\n".join(b"  " + encode_json(one) for one in value)
            body.append(encode_json(name) + b": [\n" + lines + b"\n]")
        else:
            body.append(encode_json(name) + b": " + encode_json(value))
    return b"{\n" + b",\n".join(body) + b"\n}\n"


def _table(model: IntentModel) -> Table:
    report = model.report
    table = Table("figure", "value", title=f"{report.source}, {report.folds}-fold cross-validation")
    rows = {
        "rows": f"{report.rows:,}, of which {report.left:,} left without buying",
        "AUC": f"{report.auc:.4f} ± {report.auc_deviation:.4f} over the folds; a plain logistic regression: {report.auc_of_logistic:.4f}",
        "calibration error": f"{report.calibration_error:.4f}",
        "Brier score": f"{report.brier:.4f}",
        "threshold": f"{model.threshold:g}: takes {report.threshold_flags:.1%} for leaving, right in {report.threshold_right:.1%}, "
        f"finds {report.threshold_found:.1%} of those who left",
        "features": ", ".join(axis.name for axis in model.axes),
        "pairs": ", ".join(term.name for term in model.terms if len(term.of) == 2) or "none",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    for column, reason in report.left_out.items():
        table.add_row(f"without {column}", reason)
    return table
