"""The rules file: what may stand in it, and what is said when something else does."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartstream.errors import ConfigError
from cartstream.events.times import DAY
from cartstream.identity.rules import Moments, Rules, default_rules, load_rules, read_rules

SOUND = """\
identifiers:
  - {type: user_id, limit: 1}
  - type: email
    limit: 2
    within: 10d
  - {type: device, limit: 3, within: 1d}
caps:
  devices: 50
  merges: 10
blocked:
  values: [house]
  patterns: ["qa-.*"]
"""

WRONG = [
    ("limit: 1}", "limit: 0}", "r.yaml:2: identifiers[0].limit: expected `int` >= 1"),
    ("type: email", "type: e-mail", "r.yaml:3: identifiers[1].type: invalid enum value 'e-mail'"),
    ("type: email", "type: user_id", "r.yaml:3: identifiers[1].type: user_id is listed twice; rank follows the order, so list it once"),
    ("limit: 2", "limt: 2", "r.yaml:4: identifiers[1].limt: no such field"),
    ("    limit: 2\n", "", "r.yaml:3: identifiers[1]: object missing required field `limit`"),
    ("within: 10d", "within: a year", "r.yaml:5: identifiers[1].within: expected a duration such as 90s, 30m, 24h or 14d, got 'a year'"),
    ("within: 10d", "within: 0d", "r.yaml:5: identifiers[1].within: a stretch of no time limits nothing; leave `within` out for ever"),
    ("  - {type: device, limit: 3, within: 1d}\n", "", "r.yaml:1: identifiers: device is missing: without it nobody is ever found"),
    ("devices: 50", "devices: 20000", "r.yaml:8: caps.devices: expected `int` <= 10000"),
    ("merges: 10", "merges: many", "r.yaml:9: caps.merges: expected `int`, got `str`"),
    ("caps:", "limits:", "r.yaml:7: limits: no such field"),
    ("[house]", "[house, '']", "r.yaml:11: blocked.values[1]: an empty value is always blocked; remove it"),
    ("qa-.*", "qa-(", "r.yaml:12: blocked.patterns[0]: no regular expression: missing )"),
    ("qa-.*", ".+", "r.yaml:12: blocked.patterns[0]: blocks ordinary ids such as"),
    ("limit: 2", "limit: 2\n    limit: 3", "r.yaml:5: not YAML: `limit` is given twice"),
]


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_rules(text, "r.yaml")
    return str(caught.value).split("\n")


@pytest.mark.parametrize(("right", "wrong", "problem"), WRONG)
def test_what_is_wrong_is_named_with_its_line(right: str, wrong: str, problem: str) -> None:
    assert right in SOUND
    found = problems_of(SOUND.replace(right, wrong, 1))
    assert any(line.startswith(problem) for line in found), found


def test_everything_that_is_wrong_is_named_at_once() -> None:
    text = SOUND.replace("limit: 1}", "limit: 0}").replace("10d", "soon")
    assert [line.split(":")[1] for line in problems_of(text)] == ["2", "5"]


@pytest.mark.parametrize("text", ["", "identifiers: []", "- a", "identifiers: 3", "\x00"])
def test_what_is_no_set_of_rules_at_all_is_refused(text: str) -> None:
    assert problems_of(text)[0].startswith("r.yaml:1: ")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.yaml.*CARTSTREAM_IDENTITY_RULES"):
        load_rules(tmp_path / "nothing.yaml")


def test_a_file_of_ones_own_is_read(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(SOUND)
    rules = load_rules(tmp_path / "mine.yaml")

    assert [(rule.type, rule.limit, rule.within, rule.unique) for rule in rules.types] == [
        ("user_id", 1, None, True),
        ("email", 2, 10 * DAY, False),
        ("device", 3, DAY, False),
    ]
    assert (rules.caps.devices, rules.caps.merges) == (50, 10)
    assert rules.values.blocked("QA-1")
    assert rules.values.blocked("house")
    assert not rules.links("phone")


def test_the_rules_of_the_package_rank_and_limit_as_documented() -> None:
    assert [(rule.type, rule.limit, rule.within) for rule in default_rules().types] == [
        ("user_id", 1, None),
        ("email", 5, 365 * DAY),
        ("phone", 5, 365 * DAY),
        ("loyalty_id", 1, None),
        ("push", 5, 365 * DAY),
        ("device", 20, 30 * DAY),
    ]


def rules_of(limit: int, within: str | None) -> Rules:
    return read_rules(f"identifiers: [{{type: device, limit: {limit}{f', within: {within}' if within else ''}}}]", "r.yaml")


@pytest.mark.parametrize(
    ("moments", "allowed"),
    [
        ([(0, "a"), (1, "a")], True),
        ([(0, "a"), (1, "a"), (DAY - 1, "")], False),
        ([(0, "a"), (1, "a"), (DAY, "")], True),
        ([(0, "a"), (DAY - 1, "b"), (2 * DAY - 2, "")], True),
        ([(DAY, "a"), (DAY + 1, "a"), (2, "")], False),
        ([(DAY, "a"), (DAY + 1, "a"), (1, "")], True),
        ([(0, "a"), (1, "a"), (2, "a"), (5 * DAY, "")], True),
        ([(0, "a"), (1, "b"), (2, "b")], False),
    ],
)
def test_a_limit_holds_in_every_stretch_of_its_time(moments: Moments, allowed: bool) -> None:
    assert rules_of(2, "1d").allows("device", moments) is allowed


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("ab")), max_size=8), st.integers(1, 4), st.integers(1, 12))
def test_a_limit_is_passed_when_some_stretch_has_more_and_not_of_one_customer_alone(moments: Moments, limit: int, within: int) -> None:
    stretches = [[moment for moment in moments if start <= moment[0] < start + within] for start in range(31)]
    passed = any(len(stretch) > limit and len({owner for _, owner in stretch}) > 1 for stretch in stretches)
    scaled = [(at * DAY, owner) for at, owner in moments]

    found = rules_of(limit, f"{within}d").allows("device", scaled)

    assert found or passed
    if len({owner for _, owner in moments}) > 1 and all(_least(moments, owner, limit, within) for owner in "ab"):
        assert found is not passed


def _least(moments: Moments, owner: str, limit: int, within: int) -> bool:
    """This owner alone keeps to the limit."""
    own = [at for at, whose in moments if whose == owner]
    return all(sum(start <= at < start + within for at in own) <= limit for start in range(31))
