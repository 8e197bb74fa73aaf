"""What a model's training tells of itself: on what, how well it ranks, how far its probabilities can be believed."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import msgspec

BINS = 10


class Bin(msgspec.Struct, frozen=True):
    """Rows of similar score: what was foretold on average, and what came."""

    rows: int
    foretold: float
    came: float


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """Every figure is of rows that the model that scored them had not seen (cross-validation)."""

    source: str
    rows: int
    left: int
    """Rows that left without buying."""
    folds: int
    seed: int
    auc: float
    """Mean over the folds."""
    auc_deviation: float
    auc_of_folds: list[float]
    auc_of_logistic: float
    """For comparison: a plain logistic regression of the same columns (numbers by their logarithm), on the same folds."""
    calibration_error: float
    """Expected calibration error over `reliability`."""
    brier: float
    reliability: list[Bin]
    threshold_flags: float
    """Share of the rows that the threshold takes for leaving."""
    threshold_right: float
    """Of these, the share that left."""
    threshold_found: float
    """Of those who left, the share that it takes."""
    left_out: dict[str, str] = {}
    """Columns that were not used, and why."""
    trained_with: str = ""
    note: str = ""


def reliability(foretold: Sequence[float], came: Sequence[bool], bins: int = BINS) -> list[Bin]:
    """Bins of equally many rows, by score; equal scores are never torn apart."""
    rows = sorted(zip(foretold, came, strict=True))
    found: list[Bin] = []
    begin = 0
    for number in range(1, bins + 1):
        end = max(begin, round(len(rows) * number / bins))
        while 0 < end < len(rows) and rows[end][0] == rows[end - 1][0]:
            end += 1
        if end > begin:
            part = rows[begin:end]
            found.append(Bin(len(part), _mean([score for score, _ in part]), _mean([float(fact) for _, fact in part])))
        begin = end
    return found


def calibration_error(bins: Sequence[Bin]) -> float:
    """How far what was foretold is from what came, over all rows."""
    rows = sum(one.rows for one in bins)
    return sum(one.rows * abs(one.foretold - one.came) for one in bins) / rows if rows else 0.0


def auc(foretold: Sequence[float], came: Sequence[bool]) -> float:
    """Chance that one who left is scored above one who bought (ties half). 0.5 if there is only one kind."""
    rows = sorted(zip(foretold, came, strict=True))
    positives = sum(came)
    negatives = len(rows) - positives
    if not positives or not negatives:
        return 0.5
    ranks, place = 0.0, 0
    while place < len(rows):
        end = place
        while end < len(rows) and rows[end][0] == rows[place][0]:
            end += 1
        ranks += (place + 1 + end) / 2 * sum(fact for _, fact in rows[place:end])
        place = end
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)


def deviation(values: Sequence[float]) -> float:
    mean = _mean(values)
    return sqrt(sum((value - mean) ** 2 for value in values) / len(values))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
