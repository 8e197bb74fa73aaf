from __future__ import annotations

from pathlib import Path

import pytest

from cartstream.errors import ConfigError
from cartstream.events.times import DAY, HOUR
from cartstream.journeys import load_journeys
from cartstream.journeys.loading import read_journeys

SOUND = """\
channels:
  push:
    quiet: {from: 22:00, until: "08:00"}
journeys:
  - name: cart
    trigger: cart_abandoned
    steps:
      - name: first
        after: 1h
        channels: [email]
        template: first
      - name: second
        after: 1d
        channels: [push, sms]
        template: second
  - name: leaving
    trigger: exit_intent
    quiet: drop
    steps:
      - name: now
        channels: [push]
        template: now
"""


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_journeys(text, "j.yaml")
    return str(caught.value).split("\n")


def test_the_journeys_of_the_package_are_sound() -> None:
    journeys = load_journeys()

    assert [journey.name for journey in journeys.journeys] == [
        "checkout_abandonment",
        "cart_abandonment",
        "browse_abandonment",
        "exit_intent",
        "price_drop",
        "back_in_stock",
    ]
    assert [step.after for step in journeys.journeys[1].steps] == [HOUR, DAY]
    assert journeys.channels.email.quiet is None


def test_a_time_of_day_needs_no_quotes() -> None:
    quiet = read_journeys(SOUND, "j.yaml").channels.push.quiet

    assert quiet is not None
    assert (quiet.start, quiet.until) == (22 * HOUR, 8 * HOUR)


WRONG = [
    ("after: 1h", "after: soon", "j.yaml:9: journeys[0].steps[0].after: expected a duration such as 90s, 30m, 24h or 14d, got 'soon'"),
    ("after: 1d", "after: 30m", "j.yaml:13: journeys[0].steps[1].after: each step must come later than the one before it"),
    ("channels: [email]", "channels: [fax]", "j.yaml:10: journeys[0].steps[0].channels[0]: invalid enum value 'fax'"),
    ("channels: [push, sms]", "channels: [push, push]", "j.yaml:14: journeys[0].steps[1].channels: a channel is named twice"),
    ("template: first", "tmplate: first", "j.yaml:11: journeys[0].steps[0].tmplate: no such field"),
    ("        template: second\n", "", "j.yaml:12: journeys[0].steps[1]: object missing required field `template`"),
    ("trigger: cart_abandoned", "trigger: cart_lost", "j.yaml:6: journeys[0].trigger: invalid enum value 'cart_lost'"),
    ("name: second", "name: first", "j.yaml:12: journeys[0].steps[1].name: a second step is called first"),
    ("name: leaving", "name: cart", "j.yaml:16: journeys[1].name: a second journey is called cart"),
    ("quiet: drop", "outranks: [nobody]\n    quiet: drop", "j.yaml:18: journeys[1].outranks[0]: no other journey is called nobody"),
    ("quiet: drop", "quiet: defer", "j.yaml:18: journeys[1].quiet: an exit_intent message cannot wait: set `quiet` to drop or ignore"),
    ("from: 22:00", 'from: "25:00"', "j.yaml:3: channels.push.quiet.from: expected a time of day such as \"21:00\", got '25:00'"),
    ("from: 22:00", 'from: "08:00"', "j.yaml:3: channels.push.quiet: `from` and `until` are the same; leave `quiet` out for none"),
    ("  push:\n", "  fax:\n", "j.yaml:2: channels.fax: no such field"),
    ("quiet: drop", "quiet: drop\n    timezone: Mars/Base", "j.yaml:19: journeys[1].timezone: no time zone is called Mars/Base"),
    ("quiet: drop", "quiet: drop\n    holdout_percent: 101", "j.yaml:19: journeys[1].holdout_percent: expected `float` <= 100.0"),
    ("quiet: drop", "quiet: drop\n    quiet: drop", "j.yaml:19: not YAML: `quiet` is given twice"),
    ("channels: [email]", "channels: [email", "j.yaml:11: not YAML: "),
]


@pytest.mark.parametrize(("right", "wrong", "problem"), WRONG)
def test_what_is_wrong_is_named_with_its_line(right: str, wrong: str, problem: str) -> None:
    assert right in SOUND

    found = problems_of(SOUND.replace(right, wrong, 1))

    assert any(line.startswith(problem) for line in found), found


def test_everything_that_is_wrong_is_named_at_once() -> None:
    text = SOUND.replace("after: 1h", "after: soon").replace("[push, sms]", "[fax]").replace("trigger: exit_intent", "trigger: none")

    assert [line.split(":")[1] for line in problems_of(text)] == ["9", "14", "17"]


@pytest.mark.parametrize("text", ["", "journeys: []", "- a", "journeys: 3", "&a [*a]", "a: !!python/object:os.system b", "\x00"])
def test_what_is_no_set_of_journeys_at_all_is_refused(text: str) -> None:
    assert problems_of(text)[0].startswith("j.yaml:1: ")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.yaml.*CARTSTREAM_JOURNEYS"):
        load_journeys(tmp_path / "nothing.yaml")


def test_a_file_of_ones_own_is_read(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(SOUND)

    assert load_journeys(tmp_path / "mine.yaml").find("leaving") is not None
