"""Training, with scikit-learn (`pip install cartstream[train]`): boosted trees of at most two features each, written out as tables.

Since no tree looks at more than two features together, their sum is exactly a sum of tables of one or two features. The tables are what is
kept and what is validated: the trees are thrown away.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import sklearn
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from cartstream.detection.intent.labelled import Labelled
from cartstream.detection.intent.model import FORMAT, Axis, IntentModel, Term, Value, probability_of
from cartstream.detection.intent.report import Report, auc, calibration_error, deviation, reliability
from cartstream.errors import ConfigError

LEVELS = 24
LEAST_ROWS = 20
"""A category seen less often counts as unknown; a leaf of a tree holds twice as many."""
PAIRS = 12
ROUNDS, SCOUTING_ROUNDS = 250, 80
RATE = 0.04
DIGITS = 4

Pair = tuple[int, int]


def train(
    labelled: Labelled, *, folds: int = 10, seed: int = 0, pairs: int = PAIRS, threshold: float | None = None, note: str = ""
) -> IntentModel:
    """The model of all rows, with the report of its cross-validation. The same rows and seed give the same model.

    `threshold` is by default the one that best tells those who left from those who bought (Youden's). Raises ConfigError.
    """
    left = np.array(labelled.left)
    if not labelled.columns:
        raise ConfigError(f"{labelled.source}: no column left to learn from")
    if min(left.sum(), (~left).sum()) < folds:
        raise ConfigError(f"{labelled.source}: {int((~left).sum())} bought, {int(left.sum())} did not; {folds} folds need {folds} of each")
    # Trees this small are finished before a second thread is under way; on a busy machine those that wait for it take ten times the CPU.
    with threadpool_limits(limits=1):  # type: ignore[no-untyped-call]
        found = _validated(labelled, left, folds, seed, pairs)
        model = fit(labelled, np.arange(len(left)), pairs)
    limit = _youden(np.array(found.scores), left) if threshold is None else threshold
    report = _report(labelled, found, folds, seed, limit, note)
    return IntentModel(FORMAT, model.axes, model.intercept, model.terms, limit, report)


class Validated(NamedTuple):
    """The probability of every row by the model that has not seen it; each fold's AUC, and that of a logistic regression."""

    scores: list[float]
    aucs: list[float]
    plain: list[float]


class Tables:
    """A fitted model without threshold and report."""

    def __init__(self, axes: list[Axis], intercept: float, terms: list[Term]) -> None:
        self.axes = axes
        self.intercept = intercept
        self.terms = terms

    def logits(self, levels: Any) -> Any:
        """Of rows of levels, a column an axis."""
        place = {axis.name: number for number, axis in enumerate(self.axes)}
        total = np.full(len(levels), self.intercept)
        for term in self.terms:
            index = levels[:, place[term.of[0]]]
            if len(term.of) == 2:
                second = place[term.of[1]]
                index = index * self.axes[second].levels + levels[:, second]
            total += np.array(term.logits)[index]
        return total


def fit(labelled: Labelled, rows: Any, pairs: int = PAIRS) -> Tables:
    """On some of the rows alone: their axes, too, come from nothing else."""
    axes = [_axis(name, [column[row] for row in rows]) for name, column in labelled.columns.items()]
    levels = _levels(axes, labelled, rows)
    left = np.array(labelled.left)[rows]
    strongest: list[Pair] = []
    if pairs and len(axes) > 1:
        scout = _tables(_boosted(axes, levels, left, "pairwise", SCOUTING_ROUNDS), axes, levels, combinations(range(len(axes)), 2))
        strongest = _strongest(scout, axes, levels, pairs)
    together = [{number} for number in range(len(axes))] + [set(pair) for pair in strongest]
    return _tables(_boosted(axes, levels, left, together, ROUNDS), axes, levels, strongest)


def _validated(labelled: Labelled, left: Any, folds: int, seed: int, pairs: int) -> Validated:
    kind = StratifiedKFold if labelled.groups is None else StratifiedGroupKFold
    scores, aucs, plain = np.zeros(len(left)), [], []
    for seen, unseen in kind(folds, shuffle=True, random_state=seed).split(left, left, labelled.groups):
        tables = fit(labelled, seen, pairs)
        scores[unseen] = [probability_of(logit) for logit in tables.logits(_levels(tables.axes, labelled, unseen))]
        aucs.append(auc(scores[unseen].tolist(), left[unseen].tolist()))
        regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000))
        regression.fit(_plain(tables.axes, labelled, seen), left[seen])
        plain.append(auc(regression.decision_function(_plain(tables.axes, labelled, unseen)).tolist(), left[unseen].tolist()))
    return Validated(scores.tolist(), aucs, plain)


def _plain(axes: Sequence[Axis], labelled: Labelled, rows: Any) -> Any:
    """Numbers by their logarithm (of 1 more; 0 where none is), a column of 0 and 1 for each category."""
    parts = []
    for axis in axes:
        column = [labelled.columns[axis.name][row] for row in rows]
        if axis.values:
            parts.append(np.eye(axis.levels)[[axis.level(value) for value in column]])
        else:
            numbers = np.array([value or 0.0 for value in column], dtype=float)
            parts.append((np.sign(numbers) * np.log1p(np.abs(numbers)))[:, None])
    return np.hstack(parts)


def _axis(name: str, column: Sequence[Value]) -> Axis:
    known = [value for value in column if value is not None]
    if any(isinstance(value, str) for value in known):
        counts: dict[str, int] = {}
        for value in known:
            counts[str(value)] = counts.get(str(value), 0) + 1
        return Axis(name, values=sorted(value for value, count in counts.items() if count >= LEAST_ROWS) or sorted(counts))
    numbers = np.array(known, dtype=float)
    edges = sorted(set(numbers.tolist()))[1:]
    if len(edges) >= LEVELS:
        edges = sorted({_short(edge) for edge in np.quantile(numbers, np.linspace(0, 1, LEVELS + 1)[1:-1]).tolist()})
    return Axis(name, edges=[edge for edge in edges if edge > numbers.min()])


def _short(edge: float) -> float:
    """Three digits say enough of where a level begins."""
    return float(f"{edge:.3g}")


def _levels(axes: Sequence[Axis], labelled: Labelled, rows: Any) -> Any:
    return np.array([[axis.level(labelled.columns[axis.name][row]) for axis in axes] for row in rows], dtype=np.int64).reshape(
        -1, len(axes)
    )


def _boosted(axes: Sequence[Axis], levels: Any, left: Any, together: Any, rounds: int) -> Any:
    model = HistGradientBoostingClassifier(
        learning_rate=RATE,
        max_iter=rounds,
        max_leaf_nodes=4,
        min_samples_leaf=2 * LEAST_ROWS,
        l2_regularization=5.0,
        interaction_cst=together,
        categorical_features=[bool(axis.values) for axis in axes],
        early_stopping=False,
        random_state=0,
    )
    return model.fit(levels, left)


def _tables(model: Any, axes: list[Axis], levels: Any, pairs: Iterable[Pair]) -> Tables:
    """What the trees add up to. Measured from one row, then centred: every table is 0 on average over the rows of its features."""
    usual = np.array([np.bincount(levels[:, number]).argmax() for number in range(len(axes))])
    base = float(model.decision_function(usual[None])[0])
    weights = [np.bincount(levels[:, number], minlength=axis.levels) / len(levels) for number, axis in enumerate(axes)]
    singles = [_table(model, usual, axes, (number,)) - base for number in range(len(axes))]
    doubles: dict[Pair, Any] = {}
    alone = [single.copy() for single in singles]
    for first, second in pairs:
        table = _table(model, usual, axes, (first, second)) - base - alone[first][:, None] - alone[second][None, :]
        if np.abs(table).max() < 1e-9:
            continue
        rows, columns = table @ weights[second], weights[first] @ table
        mean = float(weights[first] @ rows)
        doubles[first, second] = table - rows[:, None] - columns[None, :] + mean
        singles[first] += rows
        singles[second] += columns - mean
    means = [float(weights[number] @ single) for number, single in enumerate(singles)]
    terms = [_term([axes[n].name], singles[n] - means[n], weights[n] > 0) for n in range(len(axes))]
    terms += [_term([axes[a].name, axes[b].name], table, np.outer(weights[a] > 0, weights[b] > 0)) for (a, b), table in doubles.items()]
    return Tables(axes, round(base + sum(means), DIGITS), [term for term in terms if any(term.logits)])


def _table(model: Any, usual: Any, axes: Sequence[Axis], of: Sequence[int]) -> Any:
    shape = [axes[number].levels for number in of]
    grid = np.indices(shape).reshape(len(of), -1)
    asked = np.repeat(usual[None], grid.shape[1], axis=0)
    for number, column in zip(of, grid, strict=True):
        asked[:, number] = column
    return model.decision_function(asked).reshape(shape)


def _term(of: list[str], table: Any, seen: Any) -> Term:
    """Where no row has been, nothing is known: 0."""
    return Term(of, [round(float(logit), DIGITS) + 0.0 for logit in np.where(seen, table, 0.0).ravel()])


def _strongest(tables: Tables, axes: Sequence[Axis], levels: Any, number: int) -> list[Pair]:
    place = {axis.name: position for position, axis in enumerate(axes)}
    found = []
    for term in tables.terms:
        if len(term.of) == 2:
            first, second = place[term.of[0]], place[term.of[1]]
            logits = np.array(term.logits)[levels[:, first] * axes[second].levels + levels[:, second]]
            found.append((-float(logits.std()), (first, second)))
    return sorted(pair for _, pair in sorted(found)[:number])


def _youden(scores: Any, left: Any) -> float:
    """Where the share of those found, less that of false alarms, is largest."""
    order = np.argsort(-scores, kind="stable")
    gain = np.cumsum(np.where(left[order], 1 / left.sum(), -1 / (~left).sum()))
    return round(float(scores[order][int(gain.argmax())]), 3)


def _report(labelled: Labelled, found: Validated, folds: int, seed: int, threshold: float, note: str) -> Report:
    left, scores, bins = labelled.left, found.scores, reliability(found.scores, labelled.left)
    flagged = [fact for score, fact in zip(scores, left, strict=True) if score >= threshold]
    return Report(
        source=labelled.source,
        rows=len(left),
        left=sum(left),
        folds=folds,
        seed=seed,
        auc=round(sum(found.aucs) / len(found.aucs), DIGITS),
        auc_deviation=round(deviation(found.aucs), DIGITS),
        auc_of_folds=[round(one, DIGITS) for one in found.aucs],
        auc_of_logistic=round(sum(found.plain) / len(found.plain), DIGITS),
        calibration_error=round(calibration_error(bins), DIGITS),
        brier=round(sum((score - fact) ** 2 for score, fact in zip(scores, left, strict=True)) / len(left), DIGITS),
        reliability=[type(one)(one.rows, round(one.foretold, DIGITS), round(one.came, DIGITS)) for one in bins],
        threshold_flags=round(len(flagged) / len(left), DIGITS),
        threshold_right=round(sum(flagged) / len(flagged), DIGITS) if flagged else 0.0,
        threshold_found=round(sum(flagged) / sum(left), DIGITS),
        left_out=labelled.left_out,
        trained_with=f"scikit-learn {sklearn.__version__}",
        note=note,
    )
