from __future__ import annotations

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner

from cartstream.cli import cli
from cartstream.detection.intent.labelling import Labelling, Moment, activities
from cartstream.detection.intent.live import LIVE
from cartstream.detection.settings import DetectionSettings
from cartstream.errors import ConfigError
from cartstream.events.records import Activity, ExitHint, Session
from cartstream.replay.lines import line
from cartstream.runtime.settings import load
from tests.detection.shopper import Shopper


class Visitor(Shopper):
    """Its exits lie in its visit, which ends after 20 minutes."""

    def __init__(self) -> None:
        super().__init__()
        self.visit(0, 20)
        opened, self._ended = self.activities
        assert opened.session is not None
        self.session = opened.session
        self.activities = [opened]

    def hint(self, at: float, orders: int = 0) -> Visitor:
        session = Session(self.session.session_id, "phone", self.time(0), self.time(at), 5, orders, 3, [])
        self._add("exit_signal", self.time(at), "phone", session, exit=ExitHint("idle", 20_000))
        return self

    def over(self) -> list[Activity]:
        return [*self.activities, self._ended]


def labelled(given: list[Activity]) -> tuple[list[Moment], Labelling]:
    labelling = Labelling(load(DetectionSettings))
    return [moment for activity in given for moment in labelling.take(activity)], labelling


def ordered(visitor: Visitor, at: float, device: str = "phone") -> Visitor:
    visitor.add(at - 0.5).order(at, device=device)
    return visitor


def test_an_exit_before_a_purchase_is_bought_one_without_is_not() -> None:
    (bought,), _ = labelled(ordered(Visitor().hint(1), 3).over())
    (left,), _ = labelled(Visitor().hint(1).over())

    assert (bought.bought, left.bought) == (True, False)
    assert bought.features == left.features
    assert bought.features["session_minutes"] == 1.0


def test_a_purchase_on_another_device_within_the_session_counts_one_afterwards_does_not() -> None:
    within, _ = labelled(ordered(Visitor().hint(1), 3, "laptop").over())
    afterwards, _ = labelled(ordered(Visitor().hint(1), 25, "laptop").over())

    assert [moment.bought for moment in (*within, *afterwards)] == [True, False]


def test_exits_that_detection_would_not_judge_are_passed_over() -> None:
    moments, labelling = labelled(ordered(Visitor(), 3).hint(4).over())

    assert moments == []
    assert labelling.passed_over == 1


def test_a_session_that_has_not_ended_has_no_label_yet() -> None:
    moments, labelling = labelled(Visitor().hint(1).hint(2).activities)

    assert moments == []
    assert labelling.unfinished == 2


def test_a_cart_and_a_checkout_before_the_exit_are_known_also_while_they_wait_for_the_watermark() -> None:
    visitor = Visitor()
    visitor.add(1).checkout(1.5)

    (moment,), _ = labelled(visitor.hint(2).over())

    assert (moment.features["cart_items"], moment.features["cart_value"], moment.features["in_checkout"]) == (1.0, 10.0, 1.0)


def test_lines_of_a_replay_are_read_as_they_were_written() -> None:
    given = ordered(Visitor().hint(1), 3).over()

    assert list(activities([line(activity) for activity in given], "there")) == given


@pytest.mark.parametrize("text", [b"{", b'{"kind": "exit_signal"}', b'{"at": "yesterday"}'])
def test_a_line_that_is_no_activity_is_named(text: bytes) -> None:
    with pytest.raises(ConfigError, match="there, line 2: not an activity"):
        list(activities([b"\n", text], "there"))


def test_the_command_writes_a_csv_for_training(tmp_path: Path) -> None:
    source, output = tmp_path / "activity.jsonl", tmp_path / "labelled.csv"
    source.write_bytes(b"".join(map(line, ordered(Visitor().hint(1), 3).over())))

    answer = CliRunner().invoke(cli, ["detection", "label", "--input", str(source), "--output", str(output)], catch_exceptions=False)

    assert answer.output == "1 exits labelled; 0 passed over, 0 without the end of their session\n"
    (row,) = csv.DictReader(output.open())
    assert list(row) == ["customer_id", *LIVE, "bought"]
    assert (row["customer_id"], row["trigger"], row["session_minutes"], row["scroll_pct"], row["bought"]) == (
        "ann",
        "idle",
        "1.0",
        "",
        "true",
    )
